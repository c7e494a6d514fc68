package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nrprobe/nrprobe/configs/unit"
)

// saved is the content of the file: a line of JSON, and its checksum in a line of its own.
type saved struct {
	Version    int                      `json:"version"`
	Interfaces map[string]*savedAccount `json:"interfaces"`
}

type savedAccount struct {
	Day   *ledger `json:"day"`
	Month *ledger `json:"month"`
	// Reserved is what runs under way might use. Where it is found at a start, they were killed, and it is charged.
	Reserved unit.Bytes `json:"reserved"`
}

// version is that of the file's format.
const version = 1

// Bounds of what is read: a file of the size limit holds thousands of interfaces.
const (
	maxFile = 1 << 20
	maxUsed = 1 << 53 // what the text of a size keeps exactly
)

// parse reads the content of the file. It refuses whatever encode could not have written.
func parse(text []byte) (*saved, error) {
	body, sum, ok := bytes.Cut(text, []byte("\n"))
	if len(text) > maxFile || !ok || string(sum) != checksum(body) {
		return nil, errors.New("its checksum is wrong")
	}
	var s saved
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, err
	}
	if s.Version != version {
		return nil, fmt.Errorf("version %d is not %d, which this program writes", s.Version, version)
	}
	for name, a := range s.Interfaces {
		if a == nil || !a.Day.plausible() || !a.Month.plausible() || !amount(a.Reserved) {
			return nil, fmt.Errorf("what it says of interface %q makes no sense", name)
		}
	}
	return &s, nil
}

func (l *ledger) plausible() bool {
	if l == nil || l.Used == nil || l.Behind < 0 {
		return false
	}
	for _, n := range l.Used {
		if !amount(n) {
			return false
		}
	}
	return true
}

func amount(n unit.Bytes) bool { return n >= 0 && n <= maxUsed }

func checksum(body []byte) string { return fmt.Sprintf("%08x\n", crc32.ChecksumIEEE(body)) }

func (s *saved) encode() ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return append(append(body, '\n'), checksum(body)...), nil
}

// Load reads what was used before, and charges what was reserved by runs that were killed. Call it before anything is reserved.
// Where there is no file, counting begins at zero. Where there is one that cannot be read, nobody knows what was used: then the
// present day and month of every limited interface count as used up, and the log says how to overrule that.
func (p *Plan) Load() {
	if p.options.Path == "" {
		return
	}
	s, err := read(p.options.Path)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		p.loseLocked(err)
	default:
		p.restoreLocked(s)
	}
}

func (p *Plan) restoreLocked(s *saved) {
	for name, from := range s.Interfaces {
		a := &account{day: from.Day, month: from.Month}
		p.accounts[name] = a
		if from.Reserved == 0 {
			continue
		}
		for _, period := range Periods() {
			l := a.ledger(period)
			l.charge(l.newest(), from.Reserved) // the period in which it was reserved, as far as the file knows
		}
		p.changed = true
		p.options.Log.Warn("the agent did not end by itself the last time: what its runs might have used is charged to the data plan",
			"interface", name, "bytes", int64(from.Reserved))
	}
}

func (p *Plan) loseLocked(err error) {
	now := p.lookLocked()
	for name, limit := range p.limits {
		for _, period := range Periods() {
			p.accounts[name].ledger(period).charge(now.key(period), limit.of(period))
		}
		p.changed = true
	}
	if len(p.limits) > 0 {
		p.options.Log.Error("what was used of the data plan cannot be read: this day and this month count as used up",
			"path", p.options.Path, "error", err, "remedy", "wait for the next month, or stop the agent and remove the file to count from zero")
	}
}

func read(path string) (*saved, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return parse(text)
}

var errNowhere = errors.New("no folder is set to keep the data plan in: set outbox.path")

// save writes the file where something has changed since it was last written. A failure is in the log once, until it works
// again.
func (p *Plan) save() error {
	p.saving.Lock()
	defer p.saving.Unlock()
	s, changed := p.snapshot()
	switch {
	case !changed:
		return nil
	case p.options.Path == "":
		return errNowhere
	}
	text, err := s.encode()
	if err == nil {
		err = replace(p.options.Path, text)
	}
	switch {
	case err != nil && !p.failing:
		p.options.Log.Error("what was used of the data plan cannot be written: a restart forgets it, and load tests do not start",
			"path", p.options.Path, "error", err, "remedy", "make the folder of outbox.path writable")
	case err == nil && p.failing:
		p.options.Log.Info("what was used of the data plan is written again", "path", p.options.Path)
	}
	p.failing = err != nil
	if err != nil {
		p.mu.Lock()
		p.changed = true
		p.mu.Unlock()
	}
	return err
}

// snapshot is what is to be written. Where there is a path, everything counts as written from now on.
func (p *Plan) snapshot() (s *saved, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s = &saved{Version: version, Interfaces: map[string]*savedAccount{}}
	for name, a := range p.accounts {
		s.Interfaces[name] = &savedAccount{Day: a.day.clone(), Month: a.month.clone(), Reserved: a.reserved}
	}
	changed = p.changed
	p.changed = p.changed && p.options.Path == ""
	return s, changed
}

// replace puts text in the place of a file, so that a power cut leaves either the old content or the new one.
func replace(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(dir)
}

// syncFolder makes a rename survive a power cut.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
