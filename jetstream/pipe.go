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
	name       string        // what it calls itself to the server
	inbox      string        // it hears "<inbox>.*"
	maxPayload int           // bytes of headers and body that the server takes
	patience   time.Duration // with a server that does not read; then the connection is broken
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
	in, err := p.connect()
	for err != nil && sleep(ctx, pipeRetry) == nil {
		in, err = p.connect()
	}
	if err != nil {
		return err
	}
	p.set(in.conn)
	p.done.Go(func() { p.stay(in) })
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
func (p *pipe) stay(in *frames) {
	for {
		err := p.serve(in)
		p.set(nil)
		p.onLost(err)
		for in = nil; in == nil; {
			select {
			case <-p.closed:
				return
			case <-time.After(pipeRetry):
			}
			in, _ = p.connect()
		}
		p.set(in.conn)
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
func (p *pipe) connect() (*frames, error) {
	conn, err := p.dial()
	if err != nil {
		return nil, err
	}
	in := &frames{conn: conn, buf: make([]byte, pipeReadLen)}
	if err := p.greet(in); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("greet the embedded broker: %w", err)
	}
	return in, nil
}

func (p *pipe) greet(in *frames) error {
	if err := in.conn.SetDeadline(time.Now().Add(pipeGreet)); err != nil {
		return err
	}
	if err := in.await("INFO"); err != nil {
		return err
	}
	hello := fmt.Sprintf(`CONNECT {"verbose":false,"pedantic":false,"lang":"go","name":%q,"protocol":1,"headers":true,"no_responders":true}`, p.name) +
		"\r\nSUB " + p.inbox + ".* 1\r\nPING\r\n"
	if _, err := in.conn.Write([]byte(hello)); err != nil {
		return err
	}
	if err := in.await("PONG"); err != nil {
		return err
	}
	return in.conn.SetDeadline(time.Time{})
}

// serve writes and reads until the connection breaks.
func (p *pipe) serve(in *frames) error {
	ended := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { p.write(in.conn, ended) })
	err := p.read(in)
	_ = in.conn.Close()
	close(ended)
	writer.Wait()
	return err
}

// write writes what publishes have left until conn breaks or ended.
func (p *pipe) write(conn net.Conn, ended <-chan struct{}) {
	var taken []byte
	stuck := time.AfterFunc(p.patience, func() { _ = conn.Close() })
	defer stuck.Stop()
	for {
		stuck.Stop()
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
		stuck.Reset(p.patience)
		if _, err := conn.Write(taken); err != nil {
			_ = conn.Close() // ends the reading too
			return
		}
		if cap(taken) > pipeKept {
			taken = nil
		}
	}
}

// read hands on what the server says until the connection breaks.
func (p *pipe) read(in *frames) error {
	for {
		f, ok, err := in.buffered()
		if err != nil {
			return err
		}
		if !ok {
			p.onRead()
			if err := in.more(); err != nil {
				return err
			}
			continue
		}
		switch f.kind {
		case "MSG":
			p.onFrame(f)
		case "PING":
			p.queue([]byte("PONG\r\n"))
		case "-ERR":
			return fmt.Errorf("the broker says %s", f.data)
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
// waits, for as long as the pipe's patience lasts.
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
