package dedup

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/minio/highwayhash"
)

// A record of the embedded server's message files (nats-server v2.15.2,
// server/filestore.go writeMsgRecordLocked and msgFromBufEx), little endian:
//
//	 0  4 bytes  its length; the highest bit says that there are headers
//	 4  8 bytes  sequence; the two highest bits say that there is no message
//	12  8 bytes  when it was stored, in Unix nanoseconds
//	20  2 bytes  length of the subject
//	22  subject, with headers: 4 bytes their length, headers; body
//	    8 bytes  HighwayHash-64 of bytes 4 to 20, subject, headers and body, keyed by
//	             the SHA-256 of "<stream>-<number of the file>"
const (
	recordHead     = 22
	recordSum      = 8
	recordHeaders  = 1 << 31
	recordSequence = 1<<62 - 1
)

// readBlocks calls message for what the message files in dir hold of a stream from
// sequence first on, in its order, or near it: a file does not show what was removed
// since. What can't be read it leaves out with the rest of that file. The bytes of
// headers are valid during the call only. Nothing may be written to the stream meanwhile.
func readBlocks(dir, stream string, first uint64, message func(seq uint64, headers []byte, at time.Time)) error {
	numbers, err := blockNumbers(dir)
	if err != nil {
		return err
	}
	from := len(numbers)
	for from > 0 {
		from--
		if begins, err := blockBegins(blockPath(dir, numbers[from])); err != nil {
			return err
		} else if begins > 0 && begins <= first {
			break
		}
	}
	var block []byte
	for _, number := range numbers[from:] {
		if block, err = readInto(block, blockPath(dir, number)); err != nil {
			return err
		}
		key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, number))
		sum, err := highwayhash.NewDigest64(key[:])
		if err != nil {
			return err
		}
		readBlock(block, sum, func(seq uint64, headers []byte, at time.Time) {
			if seq >= first {
				message(seq, headers, at)
			}
		})
	}
	return nil
}

// readBlock reads records up to the first that is not as it was written.
func readBlock(block []byte, sum *highwayhash.Digest64, message func(seq uint64, headers []byte, at time.Time)) {
	le := binary.LittleEndian
	for len(block) >= recordHead+recordSum {
		n := int(le.Uint32(block) &^ recordHeaders)
		if n < recordHead+recordSum || n > len(block) {
			return
		}
		head, data, stored := block[:recordHead], block[recordHead:n-recordSum], block[n-recordSum:n]
		subject := int(le.Uint16(head[20:]))
		content := subject // where headers and body begin
		if le.Uint32(head)&recordHeaders != 0 {
			content += 4
		}
		if content > len(data) {
			return
		}
		sum.Reset()
		_, _ = sum.Write(head[4:20])
		_, _ = sum.Write(data[:subject])
		_, _ = sum.Write(data[content:])
		if sum.Sum64() != le.Uint64(stored) {
			return
		}
		block = block[n:]
		seq := le.Uint64(head[4:])
		if seq == 0 || seq > recordSequence {
			continue
		}
		var headers []byte
		if content > subject {
			size := uint64(le.Uint32(data[subject:]))
			if size > uint64(len(data)-content) {
				return
			}
			headers = data[content : content+int(size)]
		}
		message(seq, headers, time.Unix(0, int64(le.Uint64(head[12:]))))
	}
}

func blockPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%d.blk", number))
}

// blockNumbers returns the numbers of the message files in dir, in their order.
func blockNumbers(dir string) (numbers []uint64, err error) {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		var number uint64
		if n, _ := fmt.Sscanf(entry.Name(), "%d.blk", &number); n == 1 {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// blockBegins returns the first sequence of a message file, 0 when it has none.
func blockBegins(path string) (uint64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	head := make([]byte, recordHead)
	if n, err := io.ReadFull(file, head); n < len(head) {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		}
		return 0, err
	}
	return binary.LittleEndian.Uint64(head[4:]) & recordSequence, nil
}

// readInto reads a file into memory that is used again if it is large enough.
func readInto(memory []byte, path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	memory = slices.Grow(memory[:0], int(info.Size()))[:info.Size()]
	_, err = io.ReadFull(file, memory)
	return memory, err
}
