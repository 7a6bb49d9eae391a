package dedup

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// TestReadBlocks reads the files of a server, of which there are several.
func TestReadBlocks(t *testing.T) {
	t.Parallel()
	const n = 40
	dir := storeMessages(t, n)
	found := 0
	if err := readBlocks(dir, "EVENTS", 5, func(seq uint64, headers []byte, at time.Time) {
		found++
		if got, want := string(headerOf(headers, nats.MsgIdHdr)), "demo:"+strconv.FormatUint(seq-1, 10); got != want {
			t.Errorf("sequence %d has the id %q, want %q", seq, got, want)
		}
		if age := time.Since(at); age < 0 || age > time.Hour {
			t.Errorf("sequence %d was stored at %v", seq, at)
		}
	}); err != nil || found != n-4 {
		t.Errorf("the files have %d events from the fifth on, want %d; %v", found, n-4, err)
	}
	if numbers, err := blockNumbers(dir); err != nil || len(numbers) < 2 {
		t.Errorf("the files are %v, %v; want several", numbers, err)
	}
}

// storeMessages has a server store n messages, small and large ones by turns, and returns
// the directory of its message files.
func storeMessages(t *testing.T, n int) (dir string) {
	t.Helper()
	opts := &server.Options{DontListen: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 4 << 20}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), natsjs.StreamConfig{Name: "EVENTS", Subjects: []string{"events.*"}, MaxBytes: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m := &nats.Msg{Subject: "events.demo", Header: nats.Header{nats.MsgIdHdr: {"demo:" + strconv.Itoa(i)}, "Gw-Key": {"k"}}, Data: make([]byte, i%2<<20)}
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(opts.StoreDir, server.JetStreamStoreDir, "$G", "streams", "EVENTS", "msgs")
}

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
