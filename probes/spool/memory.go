package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// memory is a folder that a restart forgets.
type memory struct {
	mu    sync.Mutex
	files map[uint64]*memoryFile
}

func newMemory() *memory { return &memory{files: map[uint64]*memoryFile{}} }

func (m *memory) close() error { return nil }

func (m *memory) list() (map[uint64]int64, error) { return nil, nil }

func (m *memory) create(first uint64) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &memoryFile{}
	m.files[first] = f
	return f, nil
}

func (m *memory) open(first uint64) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.files[first]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("spool: opening segment %d in memory: %w", first, fs.ErrNotExist)
}

func (m *memory) remove(first uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, first)
	return nil
}

func (m *memory) cursors() (map[string]uint64, error) { return nil, nil }

func (m *memory) save(string, uint64) error { return nil }

func (m *memory) forget(string) error { return nil }

// memoryFile is a segment in memory.
type memoryFile struct {
	mu   sync.RWMutex
	data []byte
}

// ReadAt implements io.ReaderAt.
func (f *memoryFile) ReadAt(b []byte, at int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if at >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt, for writing at the end.
func (f *memoryFile) WriteAt(b []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at != int64(len(f.data)) {
		return 0, errors.New("spool: a segment grows at its end only")
	}
	f.data = append(slices.Grow(f.data, len(b)), b...)
	return len(b), nil
}

// Sync has nothing to do.
func (f *memoryFile) Sync() error { return nil }

// Truncate shortens the segment.
func (f *memoryFile) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = f.data[:min(size, int64(len(f.data)))]
	return nil
}

// Close has nothing to do: the segment may be opened again.
func (f *memoryFile) Close() error { return nil }
