package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBothFamiliesMakeTwoProbes: one entry becomes two, told apart by name and by label, that share the rest.
func TestBothFamiliesMakeTwoProbes(t *testing.T) {
	c, err := Parse("agent.yaml", []byte(`
agent: {name: van-07}
probes:
  - {name: edge, kind: ping, target: "reflector.example", ip_family: both, labels: {slice: embb}}
  - {name: other, kind: ping, target: "reflector.example"}
`), lookup, newDiary().kinds())
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Name, Family string
		Labels       map[string]string
	}
	var got []entry
	for _, p := range c.Probes {
		got = append(got, entry{p.Name, p.IPFamily, p.Labels})
	}
	want := []entry{
		{"edge-4", "4", map[string]string{"slice": "embb", "ip_family": "4"}},
		{"edge-6", "6", map[string]string{"slice": "embb", "ip_family": "6"}},
		{"other", "any", nil},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestBothFamiliesHaveNoTraceInCommon: two probes cannot write one file, and one probe can.
func TestBothFamiliesHaveNoTraceInCommon(t *testing.T) {
	_, err := Parse("agent.yaml", []byte(`
agent: {name: van-07}
probes:
  - {name: both, kind: ping, target: "reflector.example", ip_family: both, trace: packets.csv}
  - {name: one, kind: ping, target: "reflector.example", ip_family: 4, trace: packets-4.csv}
`), lookup, newDiary().kinds())
	const want = "agent.yaml:4: probes[0].trace: is one file, and with ip_family both there are two measurements: make a probe for each family"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
