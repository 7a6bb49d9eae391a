package dedup

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/minio/highwayhash"
)

// FuzzReadBlock has records whose checksum is right and whatever else is not.
func FuzzReadBlock(f *testing.F) {
	f.Add(make([]byte, recordHead+recordSum))
	f.Add(append([]byte{0, 0, 0, 0x80, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 's', 2, 0, 0, 0, 'h', 'h', 'b'}, make([]byte, recordSum)...))
	f.Add(append([]byte{0, 0, 0, 0x80, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 's', 2, 0, 0, 0xff, 'h', 'h', 'b'}, make([]byte, recordSum)...))
	f.Fuzz(func(t *testing.T, record []byte) {
		sum, err := highwayhash.NewDigest64(make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(record); n >= recordHead+recordSum {
			record = bytes.Clone(record)
			le := binary.LittleEndian
			le.PutUint32(record, uint32(n)|le.Uint32(record)&recordHeaders)
			data := record[recordHead : n-recordSum]
			subject := min(int(le.Uint16(record[20:])), len(data))
			content := subject
			if le.Uint32(record)&recordHeaders != 0 {
				content = min(content+4, len(data))
			}
			_, _ = sum.Write(record[4:20])
			_, _ = sum.Write(data[:subject])
			_, _ = sum.Write(data[content:])
			le.PutUint64(record[n-recordSum:], sum.Sum64())
		}
		readBlock(record, sum, func(seq uint64, headers []byte, _ time.Time) {
			if seq == 0 || seq > recordSequence || len(headers) > len(record) {
				t.Errorf("sequence %d with %d bytes of headers", seq, len(headers))
			}
		})
	})
}
