package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

// TestEachProbeGoesItsWay: interface, family and name servers of an entry are those of its network.
func TestEachProbeGoesItsWay(t *testing.T) {
	d := newDiary()
	var got []Way
	c := configOf(t, d, `
probes:
  - {name: a, kind: ping, target: h, interface: wwan0, ip_family: 6, dns: ["192.0.2.53", "[2001:db8::53]:5353"], source_fallback: true}
  - {name: b, kind: ping, target: h}
`)
	_, err := New(c, Deps{Kinds: d.kinds(), Network: func(w Way) (probes.Network, error) {
		got = append(got, w)
		return noNetwork{}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Way{{Interface: "wwan0", Family: "6", DNS: []string{"192.0.2.53", "[2001:db8::53]:5353"}, SourceFallback: true}, {Family: "any"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNameServersAreAddresses(t *testing.T) {
	for _, server := range []string{"dns.example", "192.0.2.53:0", "192.0.2"} {
		_, err := Parse("agent.yaml", []byte("probes: [{name: a, kind: ping, target: h, dns: [192.0.2.1, \""+server+"\"]}]"), lookup, newDiary().kinds())
		want := `agent.yaml:1: probes[0].dns: "` + server + `" is no name server: want an address, like 192.0.2.53 or [2001:db8::53]:53`
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
