package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// folder is where segments and cursors are kept. Segments are named by their first number, cursors by their reader.
// It is safe for concurrent use. Errors name the path.
type folder interface {
	segmentFiles
	cursorFiles
	// close gives the folder free for others.
	close() error
}

type segmentFiles interface {
	// list finds the segments that exist, in any order, with their sizes.
	list() (map[uint64]int64, error)
	// create makes a segment, or empties one.
	create(first uint64) (file, error)
	// open opens a segment for reading and writing.
	open(first uint64) (file, error)
	remove(first uint64) error
}

type cursorFiles interface {
	// cursors reads all cursors; one that is damaged is left out.
	cursors() (map[string]uint64, error)
	save(reader string, next uint64) error
	forget(reader string) error
}

// file is an open segment.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	syncer
}

type syncer interface {
	Sync() error
	Truncate(size int64) error
}

// counters count what is asked of the disk.
type counters struct{ fsyncs, bytes atomic.Uint64 }

// dir is a folder on disk.
type dir struct {
	path    string
	root    *os.Root
	lock    *os.File
	durable bool // cursors are synced
	disk    *counters
	log     *slog.Logger
}

const (
	segmentSuffix = ".seg"
	cursorPrefix  = "cursor."
	tmpSuffix     = ".tmp"
	lockName      = "lock"
)

func openDir(c Config, disk *counters) (folder, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: making the folder: %w", err)
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("spool: opening the folder: %w", err)
	}
	d := &dir{path: c.Dir, root: root, durable: c.Sync == SyncAlways, disk: disk, log: c.Log}
	d.lock, err = root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(d.wrap("opening", lockName, err), root.Close())
	}
	switch err := flock(d.lock); {
	case errors.Is(err, ErrInUse):
		return nil, errors.Join(fmt.Errorf("%w: %s is open already, in this process or another", ErrInUse, c.Dir), d.close())
	case err != nil:
		// Some file systems have no locks. To lose results for that would be worse than to trust the user.
		c.Log.Warn("the spool's folder cannot be locked: make sure that only one process uses it", "path", c.Dir, "error", err)
	}
	return d, nil
}

func (d *dir) wrap(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		hint = ": free space there"
	}
	return fmt.Errorf("spool: %s %s: %w%s", doing, filepath.Join(d.path, name), err, hint)
}

func (d *dir) close() error { return errors.Join(d.lock.Close(), d.root.Close()) }

// entries lists the names in the folder.
func (d *dir) entries() ([]fs.DirEntry, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, d.wrap("listing", "", err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	return entries, d.wrap("listing", "", err)
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

func (d *dir) list() (map[uint64]int64, error) {
	entries, err := d.entries()
	if err != nil {
		return nil, err
	}
	found := map[uint64]int64{}
	for _, e := range entries {
		first, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), segmentSuffix), 10, 64)
		if err != nil || first == 0 || first > maxNumber || segmentName(first) != e.Name() {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			d.log.Warn("leaving out what is no segment", "path", filepath.Join(d.path, e.Name()), "error", err)
			continue
		}
		found[first] = info.Size()
	}
	return found, nil
}

func (d *dir) create(first uint64) (file, error) {
	name := segmentName(first)
	f, err := d.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, d.wrap("making", name, err)
	}
	if err := d.syncFolder(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return diskFile{f, d, name}, nil
}

func (d *dir) open(first uint64) (file, error) {
	name := segmentName(first)
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, d.wrap("opening", name, err)
	}
	return diskFile{f, d, name}, nil
}

func (d *dir) remove(first uint64) error {
	name := segmentName(first)
	return d.wrap("removing", name, d.root.Remove(name))
}

// syncFolder makes names durable.
func (d *dir) syncFolder() error {
	f, err := d.root.Open(".")
	if err != nil {
		return d.wrap("opening", "", err)
	}
	d.disk.fsyncs.Add(1)
	return errors.Join(d.wrap("syncing", "", f.Sync()), f.Close())
}

func (d *dir) cursors() (map[string]uint64, error) {
	entries, err := d.entries()
	if err != nil {
		return nil, err
	}
	found := map[string]uint64{}
	for _, e := range entries {
		escaped, ok := strings.CutPrefix(e.Name(), cursorPrefix)
		reader, err := url.QueryUnescape(escaped)
		if !ok || err != nil || strings.HasSuffix(e.Name(), tmpSuffix) {
			continue
		}
		next, err := d.cursor(e.Name())
		if err != nil {
			d.log.Warn("a cursor cannot be read: its reader begins anew at the oldest record", "reader", reader, "error", err)
			continue
		}
		found[reader] = next
	}
	return found, nil
}

func (d *dir) cursor(name string) (next uint64, err error) {
	f, err := d.root.Open(name)
	if err != nil {
		return 0, d.wrap("opening", name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return 0, d.wrap("reading", name, err)
	}
	next, ok := parseCursor(string(text))
	if !ok {
		return 0, d.wrap("reading", name, errors.New("damaged"))
	}
	return next, nil
}

// cursorText is the content of a cursor: "nrprobe-cursor 1 42 0f1e2d3c\n", the version, the number and a CRC-32C.
func cursorText(next uint64) string {
	text := fmt.Sprintf("nrprobe-cursor 1 %d", next)
	return fmt.Sprintf("%s %08x\n", text, crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

func parseCursor(text string) (next uint64, ok bool) {
	words := strings.Fields(text)
	if len(words) != 4 {
		return 0, false
	}
	next, err := strconv.ParseUint(words[2], 10, 64)
	return next, err == nil && next > 0 && next < math.MaxInt64 && text == cursorText(next)
}

// save writes a cursor beside the old one and renames it into place, so that one of the two is always whole.
func (d *dir) save(reader string, next uint64) error {
	name := cursorPrefix + url.QueryEscape(reader)
	tmp := name + tmpSuffix
	f, err := d.root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return d.wrap("writing", tmp, err)
	}
	n, err := f.WriteString(cursorText(next))
	d.disk.bytes.Add(uint64(n))
	if err == nil && d.durable {
		d.disk.fsyncs.Add(1)
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return d.wrap("writing", tmp, err)
	}
	if err := d.root.Rename(tmp, name); err != nil {
		return d.wrap("writing", name, err)
	}
	if d.durable {
		return d.syncFolder()
	}
	return nil
}

func (d *dir) forget(reader string) error {
	name := cursorPrefix + url.QueryEscape(reader)
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.wrap("removing", name, err)
	}
	return nil
}

// diskFile counts and names what is done to a segment.
type diskFile struct {
	*os.File
	dir  *dir
	name string
}

// WriteAt implements io.WriterAt.
func (f diskFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	f.dir.disk.bytes.Add(uint64(n))
	return n, f.dir.wrap("appending to", f.name, err)
}

// Sync makes the segment durable.
func (f diskFile) Sync() error {
	f.dir.disk.fsyncs.Add(1)
	return f.dir.wrap("syncing", f.name, f.File.Sync())
}
