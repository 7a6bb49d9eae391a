package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

// pipe is the connection on which events are published to the embedded server:
// the little of the NATS client protocol that this takes, with as few copies,
// wake-ups and allocations as it can be done with. Everything else goes through
// the nats.go client.
//
//	out  HPUB <subject> <reply> <header bytes> <all bytes>\r\n<headers><body>\r\n
//	in   MSG <reply> 1 <bytes>\r\n<answer>\r\n
//	     HMSG <reply> 1 <header bytes> <all bytes>\r\n<headers><answer>\r\n
//	both PING\r\n and PONG\r\n
//
// Publishes append their frames to a buffer. One goroutine writes what has
// gathered during its last write, so that a busy pipe carries many frames at
// once; another one reads the answers, again many at once.
//
// A pipe that breaks, because the server is restarted, connects again until it
// is closed. What was on its way is not sent again.
type pipe struct {
	dial       func() (net.Conn, error)
	name       string // what it calls itself to the server
	inbox      string // it hears "<inbox>.*"
	maxPayload int    // bytes of headers and body that the server takes
	// onFrame is called with each answer, whose bytes are its own during the call
	// only, and onRead when there are no more for now; both by one goroutine.
	onFrame func(frame)
	onRead  func()
	// onLost is called when the connection breaks, onBack when there is a new one.
	onLost func(error)
	onBack func()

	mu     sync.Mutex
	room   sync.Cond // out was taken or the connection broke; with mu
	conn   net.Conn  // nil while there is none
	out    []byte    // frames to write
	wake   chan struct{}
	closed chan struct{} // by close
	done   sync.WaitGroup
}

const (
	pipeQueue   = 4 << 20 // with more than that to write, publishes wait
	pipeKept    = 1 << 20 // a larger buffer is given up after its use
	pipeGreet   = 2 * time.Second
	pipeRetry   = 20 * time.Millisecond
	pipeReadLen = 64 << 10
)

// errPipeDown is what a publish gets while there is no connection.
var errPipeDown = errors.New("not connected to the broker")

// open connects, and keeps connected until close. The callbacks are set before.
func (p *pipe) open(ctx context.Context) error {
	p.room.L = &p.mu
	p.wake, p.closed = make(chan struct{}, 1), make(chan struct{})
	conn, rest, err := p.connect()
	for err != nil && sleep(ctx, pipeRetry) == nil {
		conn, rest, err = p.connect()
	}
	if err != nil {
		return err
	}
	p.set(conn)
	p.done.Go(func() { p.stay(conn, rest) })
	return nil
}

// close ends the connection for good.
func (p *pipe) close() {
	close(p.closed)
	p.mu.Lock()
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}

// connected reports whether a publish would be sent.
func (p *pipe) connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn != nil
}

// stay serves one connection after the other.
func (p *pipe) stay(conn net.Conn, rest []byte) {
	for {
		err := p.serve(conn, rest)
		p.set(nil)
		p.onLost(err)
		for conn = nil; conn == nil; {
			select {
			case <-p.closed:
				return
			case <-time.After(pipeRetry):
			}
			conn, rest, _ = p.connect()
		}
		p.set(conn)
		p.onBack()
	}
}

// set makes conn the current connection, with nothing to write yet.
func (p *pipe) set(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		if conn != nil {
			_ = conn.Close()
		}
	default:
	}
	p.conn, p.out = conn, p.out[:0]
	p.room.Broadcast()
}

// connect opens a connection, introduces itself, and waits for the server's word.
// It returns what it has read beyond that.
func (p *pipe) connect() (net.Conn, []byte, error) {
	conn, err := p.dial()
	if err != nil {
		return nil, nil, err
	}
	rest, err := p.greet(conn)
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("greet the embedded broker: %w", err)
	}
	return conn, rest, nil
}

func (p *pipe) greet(conn net.Conn) (rest []byte, err error) {
	if err := conn.SetDeadline(time.Now().Add(pipeGreet)); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, pipeReadLen)
	heard := func(kind string) error {
		for {
			f, used, err := parseFrame(buf)
			if err != nil {
				return err
			}
			buf = buf[used:]
			switch {
			case used > 0 && f.kind == kind:
				return nil
			case used > 0:
				continue
			}
			n, err := conn.Read(buf[len(buf):cap(buf)])
			if err != nil {
				return err
			}
			buf = buf[:len(buf)+n]
		}
	}
	if err := heard("INFO"); err != nil {
		return nil, err
	}
	hello := fmt.Sprintf(`CONNECT {"verbose":false,"pedantic":false,"lang":"go","name":%q,"protocol":1,"headers":true,"no_responders":true}`, p.name) +
		"\r\nSUB " + p.inbox + ".* 1\r\nPING\r\n"
	if _, err := conn.Write([]byte(hello)); err != nil {
		return nil, err
	}
	if err := heard("PONG"); err != nil {
		return nil, err
	}
	return buf, conn.SetDeadline(time.Time{})
}

// serve writes and reads until conn breaks.
func (p *pipe) serve(conn net.Conn, rest []byte) error {
	ended := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { p.write(conn, ended) })
	err := p.read(conn, rest)
	_ = conn.Close()
	close(ended)
	writer.Wait()
	return err
}

// write writes what publishes have left until conn breaks or ended.
func (p *pipe) write(conn net.Conn, ended <-chan struct{}) {
	var taken []byte
	for {
		select {
		case <-p.wake:
		case <-ended:
			return
		}
		p.mu.Lock()
		if p.conn != conn {
			p.mu.Unlock()
			return
		}
		taken, p.out = p.out, taken[:0]
		p.room.Broadcast()
		p.mu.Unlock()
		if _, err := conn.Write(taken); err != nil {
			_ = conn.Close() // ends the reading too
			return
		}
		if cap(taken) > pipeKept {
			taken = nil
		}
	}
}

// read hands on what the server says until conn breaks.
func (p *pipe) read(conn net.Conn, rest []byte) error {
	buf := make([]byte, max(pipeReadLen, 2*len(rest)))
	have := copy(buf, rest)
	for {
		unread, err := p.takeIn(buf[:have])
		if err != nil {
			return err
		}
		if len(unread) == len(buf) { // one answer that is longer
			buf = make([]byte, 2*len(buf))
		}
		have = copy(buf, unread)
		n, err := conn.Read(buf[have:])
		if err != nil {
			return err
		}
		have += n
	}
}

// takeIn handles the complete frames in b and returns what follows them.
func (p *pipe) takeIn(b []byte) (rest []byte, err error) {
	for {
		f, used, err := parseFrame(b)
		if err != nil {
			return nil, err
		}
		if used == 0 {
			p.onRead()
			return b, nil
		}
		b = b[used:]
		switch f.kind {
		case "MSG":
			p.onFrame(f)
		case "PING":
			p.queue([]byte("PONG\r\n"))
		case "-ERR":
			return nil, fmt.Errorf("the broker says %s", f.data)
		}
	}
}

// queue leaves bytes to be written.
func (p *pipe) queue(b []byte) {
	p.mu.Lock()
	if p.conn != nil {
		p.out = append(p.out, b...)
	}
	p.mu.Unlock()
	signal(p.wake)
}

const headerLine = "NATS/1.0\r\n"

// publish leaves a frame to be written. It fails when there is no connection, or
// the event is larger than the server takes. While the server does not read, it
// waits.
func (p *pipe) publish(s *slot, e *event.Envelope) error {
	size := len(headerLine) + len("\r\n")
	for _, h := range s.headers {
		size += len(h[0]) + len(": ") + len(h[1]) + len("\r\n")
	}
	all := size + len(e.Body)
	if all > p.maxPayload {
		return nats.ErrMaxPayload
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.out) > pipeQueue && p.conn != nil {
		p.room.Wait()
	}
	if p.conn == nil {
		return errPipeDown
	}
	b := append(p.out, "HPUB "+subjectPrefix...)
	b = append(b, e.Courier...)
	b = append(append(b, ' '), s.reply...)
	b = strconv.AppendInt(append(b, ' '), int64(size), 10)
	b = strconv.AppendInt(append(b, ' '), int64(all), 10)
	b = append(b, "\r\n"+headerLine...)
	for _, h := range s.headers {
		b = append(append(b, h[0]...), ": "...)
		b = append(append(b, h[1]...), "\r\n"...)
	}
	b = append(append(b, "\r\n"...), e.Body...)
	p.out = append(b, "\r\n"...)
	signal(p.wake)
	return nil
}
