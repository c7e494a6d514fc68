package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"time"
)

const (
	magic      = "NRPSPOOL"
	version    = 1
	headerSize = 32
	frameSize  = 16 // what a record takes besides its bytes
	maxNumber  = 1 << 62
)

// errCorrupt says that there is no record where one should be.
var errCorrupt = errors.New("no valid record")

func checksum(number uint64, rest []byte) uint32 {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], number)
	table := crc32.MakeTable(crc32.Castagnoli) // made once inside crc32
	return crc32.Update(crc32.Checksum(n[:], table), table, rest)
}

// appendHeader appends the header of a segment.
func appendHeader(b []byte, first uint64, created time.Time) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint64(b, first)
	b = binary.LittleEndian.AppendUint64(b, uint64(created.UnixNano()))
	return binary.LittleEndian.AppendUint32(b, checksum(0, b[start:]))
}

// parseHeader reads the time out of a segment's header. Records are checked one by one, so a damaged header costs
// nothing but the time; a version that is not ours has other records, which fail their checks.
func parseHeader(b []byte, first uint64) (created time.Time, ok bool) {
	if len(b) < headerSize || string(b[:8]) != magic || binary.LittleEndian.Uint32(b[8:]) != version ||
		binary.LittleEndian.Uint64(b[12:]) != first || binary.LittleEndian.Uint32(b[28:]) != checksum(0, b[:28]) {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.LittleEndian.Uint64(b[20:]))), true
}

// appendFrame appends a record without number, time and checksum; seal fills those in.
func appendFrame(b, record []byte) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(record)))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(b, record...)
}

// sealFrames gives the records in b consecutive numbers, and all of them the time.
func sealFrames(b []byte, first uint64, at time.Time) {
	for number := first; len(b) > 0; number++ {
		end := frameSize + int(binary.LittleEndian.Uint32(b[4:]))
		binary.LittleEndian.PutUint64(b[8:], uint64(at.UnixNano()))
		binary.LittleEndian.PutUint32(b, checksum(number, b[4:end]))
		b = b[end:]
	}
}

// frameReader reads the records of a segment one after the other.
type frameReader struct {
	r      *bufio.Reader
	number uint64 // of the next record
	offset int64  // where it begins
	end    int64  // where the records end
}

// readFrames begins at a record whose place is known.
func readFrames(f io.ReaderAt, at place, end int64) *frameReader {
	section := io.NewSectionReader(f, at.offset, max(end-at.offset, 0))
	return &frameReader{r: bufio.NewReaderSize(section, 16<<10), number: at.number, offset: at.offset, end: end}
}

// length is the length of the next record, errCorrupt when that cannot be, io.EOF at the end.
func (f *frameReader) length() (int64, error) {
	if f.offset == f.end {
		return 0, io.EOF
	}
	head, err := f.r.Peek(frameSize)
	if err != nil {
		return 0, errCorrupt
	}
	length := int64(binary.LittleEndian.Uint32(head[4:]))
	if length > f.end-f.offset-frameSize || length > math.MaxInt32-frameSize {
		return 0, errCorrupt
	}
	return length, nil
}

// frame reads what should be a record and says whether it is one. It goes on behind it either way.
func (f *frameReader) frame() (frame []byte, good bool, err error) {
	length, err := f.length()
	if err != nil {
		return nil, false, err
	}
	frame = make([]byte, frameSize+length) // not more than the file has
	if _, err := io.ReadFull(f.r, frame); err != nil {
		return nil, false, errCorrupt
	}
	good = binary.LittleEndian.Uint32(frame) == checksum(f.number, frame[4:])
	f.number++
	f.offset += int64(len(frame))
	return frame, good, nil
}

// next reads a record. After errCorrupt number and offset are those of the bad record, and there is no way on.
func (f *frameReader) next() (record []byte, at time.Time, err error) {
	here := place{f.number, f.offset}
	frame, good, err := f.frame()
	if err == nil && !good {
		f.number, f.offset = here.number, here.offset
		err = errCorrupt
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	return frame[frameSize:], time.Unix(0, int64(binary.LittleEndian.Uint64(frame[8:]))), nil
}

// place is where a record lies in its segment.
type place struct {
	number uint64
	offset int64
}

// segment is what is known of one segment. Spool.mu guards it.
type segment struct {
	first, next     uint64 // its records are first … next-1
	size            int64
	created, newest time.Time
	counted         bool // its corrupt records have been counted
	sealed          bool // nothing more may be written to it
}

// scan finds out how far the records of a file are good.
func scan(f io.ReaderAt, first uint64, size int64) (end place, newest time.Time) {
	frames := readFrames(f, place{first, headerSize}, size)
	for {
		_, at, err := frames.next()
		if err != nil {
			return place{frames.number, frames.offset}, newest
		}
		newest = at
	}
}

// lostBehind counts the records from a bad one on to the last good one that their lengths lead to. It is 0 when no good
// record follows: then the bad one was never completely written.
func lostBehind(f io.ReaderAt, bad place, size int64) (lost uint64) {
	frames := readFrames(f, bad, size)
	for {
		_, good, err := frames.frame()
		if err != nil {
			return lost
		}
		if good {
			lost = frames.number - bad.number
		}
	}
}
