package stamp

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWiresharkReadsOurPackets has tshark decode a request and its reply as a TWAMP test session.
func TestWiresharkReadsOurPackets(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	template := newTemplate(&Config{Size: 200, TLVs: true, DSCP: 46}, nil, 0xbeef, newRandom())
	template.prepare(258)
	request := bytes.Clone(template.depart(golden.UnixNano()))
	reply := bytes.Clone(request)
	rs := newResponder(t, Reflector{})
	x := exchange{arrival: goldenArrival()}
	rs.answer(reply, len(reply), &x)
	rs.depart(reply, golden.UnixNano()+25e7)

	file := filepath.Join(t.TempDir(), "stamp.pcap")
	pcap := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	pcap = append(pcap, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0) // version 2.4, raw IP
	pcap = appendUDP(pcap, 40000, 8620, request)
	pcap = appendUDP(pcap, 8620, 40000, reply)
	if err := os.WriteFile(file, pcap, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tshark, "-r", file, "-d", "udp.port==8620,twamp.test", "-V").CombinedOutput()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, out)
	}
	text := string(out)
	if strings.Contains(text, "Malformed") {
		t.Errorf("tshark calls a packet malformed:\n%s", text)
	}
	for _, want := range []string{"Sequence Number: 258", "Sender Sequence Number: 258", "Sender TTL: 63"} {
		if !strings.Contains(text, want) {
			t.Errorf("tshark does not say %q:\n%s", want, text)
		}
	}
}

// appendUDP appends a captured IPv4 packet.
func appendUDP(pcap []byte, from, to uint16, payload []byte) []byte {
	length := 28 + len(payload)
	for _, v := range []uint32{uint32(golden.Unix()), uint32(golden.Nanosecond() / int(time.Microsecond)), uint32(length), uint32(length)} {
		pcap = binary.LittleEndian.AppendUint32(pcap, v)
	}
	pcap = append(pcap, 0x45, 0)
	pcap = binary.BigEndian.AppendUint16(pcap, uint16(length))
	pcap = append(pcap, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1)
	for _, v := range []uint16{from, to, uint16(8 + len(payload)), 0} {
		pcap = binary.BigEndian.AppendUint16(pcap, v)
	}
	return append(pcap, payload...)
}
