package connlimit

import (
	"context"
	"net"
	"testing"
	"time"
)

// dialed is a listener whose connections a test makes.
type dialed struct{ conns chan net.Conn }

func (d *dialed) Accept() (net.Conn, error) {
	c, ok := <-d.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (d *dialed) Close() error   { close(d.conns); return nil }
func (d *dialed) Addr() net.Addr { return nil }

// from is a connection from an address.
type from struct {
	net.Conn
	ip string
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.ip)} }

// TestLimits connects until both limits are met, and again when a connection has closed.
func TestLimits(t *testing.T) {
	t.Parallel()
	refused := make(chan Reason, 10)
	l := New(3, 2, func(_ net.Conn, _ bool, why Reason) { refused <- why })
	d := &dialed{make(chan net.Conn, 10)}
	if !l.Guard(d, false) {
		t.Fatal("it is closed already")
	}
	connect := func(ips ...string) {
		for _, ip := range ips {
			near, far := net.Pipe()
			t.Cleanup(func() { _ = far.Close() })
			d.conns <- from{near, ip}
		}
	}
	connect("192.0.2.1", "192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2")
	var open []net.Conn
	for range 3 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if why := <-refused; l.Count() != 3 || why != OneAddress {
		t.Errorf("%d are open, one is refused for %v", l.Count(), why)
	}
	accepted := make(chan net.Conn)
	go func() { // refuses the last one, and waits for another
		c, _ := l.Accept()
		accepted <- c
	}()
	if why := <-refused; why != InAll {
		t.Errorf("one beyond all is refused for %v", why)
	}
	_, _ = open[0].Close(), open[0].Close() // counts once
	connect("192.0.2.1")
	if c := <-accepted; c == nil || l.Count() != 3 {
		t.Errorf("%d are open after one was replaced", l.Count())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if n := l.CloseAll(); n != 3 || l.Count() != 0 {
		t.Errorf("%d were closed, %d are open", n, l.Count())
	}
	begun := time.Now()
	if l.Wait(context.Background(), time.Minute); time.Since(begun) > 30*time.Second {
		t.Error("it waits although no connection is open")
	}
	if l.Guard(d, false) {
		t.Error("it is not closed")
	}
}
