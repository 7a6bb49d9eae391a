//go:build !race

package load

import (
	"bufio"
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature"
)

func TestClientAllocatesNothing(t *testing.T) {
	to := at(t, serving(t, func(conn *net.TCPConn, _ *bufio.Reader) { // a server that allocates nothing either
		in, out := make([]byte, 4096), []byte(good)
		for {
			n, err := conn.Read(in)
			if err != nil || !bytes.HasSuffix(in[:n], []byte("{}")) {
				return
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	}))
	c, e := connected(t, to, time.Minute, "{}")
	signed := signature.Signed{Body: []byte("{}"), Headers: []signature.Header{{Name: "x-signature", Value: "00"}}}
	if n := testing.AllocsPerRun(200, func() {
		e.set(signed)
		if _, err := c.do(e); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
