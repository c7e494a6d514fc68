package ingest

import (
	"bufio"
	"bytes"
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/nrprobe/nrprobe/probes"
)

// Window is how far back, in Results of one boot of an agent, a copy is recognised. An agent sends in order and repeats
// only what was not acknowledged, which is one request: a few hundred Results at most.
const Window = 4096

// maxBoots bounds the memory to some 14 MB: two boots each of ten thousand agents.
const maxBoots = 20_000

// Seen remembers which Results were accepted, by agent, boot and sequence number. A Result that was accepted is known as
// long as neither Window later ones of its boot nor Results of maxBoots other boots were accepted since; whatever is not
// known for certain counts as new, so that nothing is ever lost here. Seen is safe for concurrent use.
type Seen struct {
	mu    sync.Mutex
	boots map[boot]*list.Element // of *window
	order *list.List             // least recently used first
}

type boot struct{ agent, boot string }

// window is a ring of bits for the Window sequence numbers up to highest.
type window struct {
	boot
	highest uint64
	bits    [Window / 64]uint64
}

// NewSeen returns an empty memory.
func NewSeen() *Seen { return &Seen{boots: map[boot]*list.Element{}, order: list.New()} }

// Has says whether a Result is known to have been accepted.
func (s *Seen) Has(id probes.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.boots[boot{id.Agent, id.Boot}]
	return ok && e.Value.(*window).has(id.Seq)
}

// Mark remembers that a Result was accepted.
func (s *Seen) Mark(id probes.ID) {
	if len(id.Agent) > maxName || len(id.Boot) > maxName {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windowLocked(boot{id.Agent, id.Boot}).mark(id.Seq)
}

func (s *Seen) windowLocked(b boot) *window {
	if e, ok := s.boots[b]; ok {
		s.order.MoveToBack(e)
		return e.Value.(*window)
	}
	for s.order.Len() >= maxBoots {
		oldest := s.order.Front()
		delete(s.boots, oldest.Value.(*window).boot)
		s.order.Remove(oldest)
	}
	w := &window{boot: b}
	s.boots[b] = s.order.PushBack(w)
	return w
}

func (w *window) has(seq uint64) bool {
	if seq > w.highest || w.highest-seq >= Window {
		return false
	}
	return w.bits[seq/64%(Window/64)]&(1<<(seq%64)) != 0
}

func (w *window) mark(seq uint64) {
	if seq > w.highest {
		if seq-w.highest >= Window {
			clear(w.bits[:])
		} else {
			for n := w.highest + 1; n < seq; n++ {
				w.bits[n/64%(Window/64)] &^= 1 << (n % 64)
			}
		}
		w.highest = seq
	} else if w.highest-seq >= Window {
		return
	}
	w.bits[seq/64%(Window/64)] |= 1 << (seq % 64)
}

// magic begins the file that Seen is kept in; what follows is one record a boot:
//
//	agent, boot (each uvarint length and bytes), highest (uvarint), bits (8 bytes each, little endian)
const magic = "nrprobe seen 1\n"

// maxName is the longest name of an agent or boot that is remembered. Nobody types a longer one.
const maxName = 4096

// MarshalBinary implements encoding.BinaryMarshaler.
func (s *Seen) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append(make([]byte, 0, len(magic)+s.order.Len()*(Window/8+64)), magic...)
	for e := s.order.Front(); e != nil; e = e.Next() {
		w := e.Value.(*window)
		for _, name := range []string{w.agent, w.boot.boot} {
			out = binary.AppendUvarint(out, uint64(len(name)))
			out = append(out, name...)
		}
		out = binary.AppendUvarint(out, w.highest)
		for _, word := range w.bits {
			out = binary.LittleEndian.AppendUint64(out, word)
		}
	}
	return out, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. What could be read before an error is kept.
func (s *Seen) UnmarshalBinary(text []byte) error {
	rest, ok := bytes.CutPrefix(text, []byte(magic))
	if !ok {
		return errors.New("not a memory of Results")
	}
	r := bufio.NewReader(bytes.NewReader(rest))
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if _, err := r.Peek(1); err != nil {
			return nil
		}
		var names [2]string
		for i := range names {
			name, err := readName(r)
			if err != nil {
				return err
			}
			names[i] = name
		}
		highest, err := binary.ReadUvarint(r)
		if err != nil {
			return fmt.Errorf("reading memory of Results: %w", err)
		}
		w := s.windowLocked(boot{names[0], names[1]})
		w.highest = highest
		if err := binary.Read(r, binary.LittleEndian, &w.bits); err != nil {
			return fmt.Errorf("reading memory of Results: %w", err)
		}
	}
}

func readName(r *bufio.Reader) (string, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", fmt.Errorf("reading memory of Results: %w", err)
	}
	if n > maxName {
		return "", fmt.Errorf("reading memory of Results: a name of %d bytes", n)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return "", fmt.Errorf("reading memory of Results: %w", err)
	}
	return string(name), nil
}
