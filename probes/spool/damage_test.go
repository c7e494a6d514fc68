package spool

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// records are numbered texts of different lengths.
func records(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%d-%s", i, strings.Repeat("r", i*7%40)))
	}
	return all
}

// written is a folder with records in segments of 300 bytes, and the names of its segments.
func written(t testing.TB, n int) (c Config, segments []string) {
	t.Helper()
	c = Config{Dir: t.TempDir(), SegmentBytes: 300, MaxBytes: 1 << 20, Sync: SyncNever}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records(n) {
		if err := s.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err = filepath.Glob(filepath.Join(c.Dir, "*"+segmentSuffix))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	slices.Sort(segments)
	return c, segments
}

// readAll opens the spool, appends one more record, and returns everything that a new reader gets.
func readAll(t *testing.T, c Config) (got []string, stats Stats) {
	t.Helper()
	s := open(t, c)
	add(t, s, "after")
	got = drain(t, s.Reader("a"))
	stats = s.Stats()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return got, stats
}

func TestTornTailAtEveryByte(t *testing.T) {
	c, segments := written(t, 30)
	last := segments[len(segments)-1]
	whole, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := scan(bytes.NewReader(whole), firstOf(t, last), int64(len(whole)))
	if end.number != 31 || end.offset != int64(len(whole)) {
		t.Fatalf("the last segment ends at %v", end)
	}
	lengths := records(30)
	lastRecord := len(whole) - frameSize - len(lengths[29])
	tails := map[string][]byte{}
	for cut := range len(whole) {
		tails[fmt.Sprintf("cut at %d", cut)] = whole[:cut]
		if cut > lastRecord {
			zeros := make([]byte, len(whole)-cut)
			tails[fmt.Sprintf("zeros from %d", cut)] = append(bytes.Clone(whole[:cut]), zeros...)
		}
	}
	tails["garbage behind"] = append(bytes.Clone(whole), "\x00\x01garbage"...)
	for name, tail := range tails {
		if err := os.RemoveAll(filepath.Join(c.Dir, cursorPrefix+"a")); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		copyDir(t, c.Dir, dir)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(last)), tail, 0o600); err != nil {
			t.Fatal(err)
		}
		intact, _ := scan(bytes.NewReader(tail), firstOf(t, last), int64(len(tail)))
		c := c
		c.Dir = dir
		got, stats := readAll(t, c)
		want := append(records(30)[:intact.number-1], "after")
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", name, got, want)
		}
		if stats.Corrupt != 0 || stats.TornBytes != uint64(int64(len(tail))-min(intact.offset, int64(len(tail)))) && len(tail) >= headerSize {
			t.Errorf("%s: %d corrupt records, %d torn bytes of %d from %d", name, stats.Corrupt, stats.TornBytes, len(tail), intact.offset)
		}
		if intact.number == 30 && !strings.HasPrefix(name, "cut") && !strings.HasPrefix(name, "zeros") {
			t.Errorf("%s lost a record", name)
		}
	}
}

func firstOf(t *testing.T, path string) (first uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(filepath.Base(path), "%d.seg", &first); err != nil {
		t.Fatal(err)
	}
	return first
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// A flipped bit costs at most the rest of its segment, and every record is either delivered or counted.
func TestBitFlips(t *testing.T) {
	c, segments := written(t, 30)
	all := records(30)
	for _, path := range segments {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first := firstOf(t, path)
		end, _ := scan(bytes.NewReader(whole), first, int64(len(whole)))
		for i := 0; i < len(whole); i += 11 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << (i % 8)
			dir := t.TempDir()
			copyDir(t, c.Dir, dir)
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			good, _ := scan(bytes.NewReader(damaged), first, int64(len(damaged)))
			want := slices.Concat(all[:good.number-1], all[end.number-1:], []string{"after"})
			c := c
			c.Dir = dir
			got, stats := readAll(t, c)
			if !slices.Equal(got, want) {
				t.Errorf("%s, byte %d: got %q\nwant %q", filepath.Base(path), i, got, want)
			}
			lost := end.number - good.number
			tail := path == segments[len(segments)-1]
			if stats.Corrupt != lost && (!tail || stats.Corrupt >= lost || stats.TornBytes == 0) {
				t.Errorf("%s, byte %d: %d corrupt records counted of %d lost, %d torn bytes", filepath.Base(path), i, stats.Corrupt, lost, stats.TornBytes)
			}
		}
	}
}

func TestDamagedFolders(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(dir string, segments []string) error
		want   func(all []string) []string
	}{
		"a segment deleted": {
			func(_ string, segments []string) error { return os.Remove(segments[1]) },
			func(all []string) []string { return slices.Concat(all[:perSegment(all, 1)], all[perSegment(all, 2):]) },
		},
		"a segment emptied": {
			func(_ string, segments []string) error { return os.Truncate(segments[1], 0) },
			func(all []string) []string { return slices.Concat(all[:perSegment(all, 1)], all[perSegment(all, 2):]) },
		},
		"the last segment emptied": {
			func(_ string, segments []string) error { return os.Truncate(segments[len(segments)-1], 0) },
			func(all []string) []string { return all[:perSegment(all, 4)] },
		},
		"a cursor of garbage": {
			func(dir string, _ []string) error {
				return os.WriteFile(filepath.Join(dir, "cursor.a"), []byte("\x00\x00"), 0o600)
			},
			func(all []string) []string { return all },
		},
		"strange files": {
			func(dir string, _ []string) error {
				for _, name := range []string{"00000000000000000000.seg", "99999999999999999999.seg", "x.seg", "cursor.%zz", "cursor.b.tmp", "1.seg", "09223372036854775807.seg"} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte("strange"), 0o600); err != nil {
						return err
					}
				}
				return os.Mkdir(filepath.Join(dir, "00000000000000000007.seg"), 0o700)
			},
			func(all []string) []string { return all },
		},
	} {
		t.Run(name, func(t *testing.T) {
			config, segments := written(t, 30)
			if len(segments) != 5 {
				t.Fatalf("%d segments, the test wants 5", len(segments))
			}
			if err := c.damage(config.Dir, segments); err != nil {
				t.Fatal(err)
			}
			got, stats := readAll(t, config)
			if want := append(slices.Clone(c.want(records(30))), "after"); !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q\n%+v", got, want, stats)
			}
		})
	}
}

// perSegment is how many records the first n segments of 300 bytes hold.
func perSegment(all []string, n int) int {
	at, size, segments := 0, headerSize, 0
	for ; at < len(all); at++ {
		if size+frameSize+len(all[at]) > 300 {
			if segments++; segments == n {
				return at
			}
			size = headerSize
		}
		size += frameSize + len(all[at])
	}
	return at
}

// A cursor ahead of what the disk still has must not hide new records.
func TestRecordsLostBehindACursor(t *testing.T) {
	c, segments := written(t, 30)
	s := open(t, c)
	if got := drain(t, s.Reader("a")); len(got) != 30 {
		t.Fatal(got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	last := segments[len(segments)-1]
	info, err := os.Stat(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(last, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"new", "newer"} {
		s = open(t, c)
		add(t, s, want)
		if got := drain(t, s.Reader("a")); !slices.Equal(got, []string{want}) {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamageWhileOpen(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	s := open(t, c)
	a, b := s.Reader("a"), s.Reader("b")
	add(t, s, "one", "two", "three")
	path := filepath.Join(c.Dir, segmentName(1))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("X"), headerSize+2*frameSize+3); err != nil { // in "two"
		t.Fatal(err)
	}
	if got := drain(t, a); !slices.Equal(got, []string{"one"}) {
		t.Errorf("got %q, want the record before the bad one", got)
	}
	add(t, s, "four")
	if got := drain(t, a); !slices.Equal(got, []string{"four"}) {
		t.Errorf("got %q, want what came after", got)
	}
	if got := drain(t, b); !slices.Equal(got, []string{"one", "four"}) {
		t.Errorf("the other reader got %q", got)
	}
	if got := s.Stats().Corrupt; got != 2 {
		t.Errorf("%d corrupt records, want 2, counted once", got)
	}
}

// FuzzSegment holds that no content of a segment keeps a spool from opening, from delivering, or from taking records, and
// that what is delivered was once written where it is.
func FuzzSegment(f *testing.F) {
	config, segments := written(f, 8)
	for _, path := range segments {
		whole, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole, true)
		f.Add(whole[:len(whole)-1], false)
	}
	f.Add([]byte{}, true)
	_ = config
	f.Fuzz(func(t *testing.T, content []byte, last bool) {
		m := newMemory()
		m.files[1] = &memoryFile{data: bytes.Clone(content)}
		if !last {
			var follows []byte
			follows = appendFrame(appendHeader(follows, 9, time.Now()), []byte("follows"))
			sealFrames(follows[headerSize:], 9, time.Now())
			m.files[9] = &memoryFile{data: follows}
		}
		s, err := start(mustDefaults(t, Config{SegmentBytes: 1 << 16}), listed{m}, &counters{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := s.Reader("a")
		add(t, s, "after")
		got := drain(t, r)
		if n := len(got); n == 0 || got[n-1] != "after" || !last && (n < 2 || got[n-2] != "follows") {
			t.Errorf("got %q", got)
		}
		good, _ := scan(bytes.NewReader(content), 1, int64(len(content)))
		if want := int(good.number); last && len(got) != want {
			t.Errorf("%d records, want %d: %q", len(got), want, got)
		}
	})
}

// listed is a folder in memory that has segments from before.
type listed struct{ *memory }

func (l listed) list() (map[uint64]int64, error) {
	sizes := map[uint64]int64{}
	for first, f := range maps.All(l.files) {
		sizes[first] = int64(len(f.data))
	}
	return sizes, nil
}

func mustDefaults(t *testing.T, c Config) Config {
	t.Helper()
	c, err := c.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
