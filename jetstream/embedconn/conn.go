// Package embedconn is the connection on which events are published to the embedded
// server: the little of the NATS client protocol that this takes, with as few copies,
// wake-ups and allocations as it can be done with. Everything else goes through the
// nats.go client.
//
//	out  HPUB <subject> <reply> <header bytes> <all bytes>\r\n<headers><body>\r\n
//	in   MSG <reply> 1 <bytes>\r\n<answer>\r\n
//	     HMSG <reply> 1 <header bytes> <all bytes>\r\n<headers><answer>\r\n
//	both PING\r\n and PONG\r\n
//
// In come messages ([Conn.Publish]), out go the server's answers, unread
// (Config.OnAnswer); [ParseAck] reads them. The publisher of the queue calls it.
package embedconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// Conn is the publishing connection.
//
// Publishes append their frames to a buffer. One goroutine writes what has
// gathered during its last write, so that a busy connection carries many frames at
// once; another one reads the answers, again many at once.
//
// A Conn that breaks, because the server is restarted, connects again until it
// is closed. What was on its way is not sent again.
//
// Its methods may be called by any number of goroutines.
type Conn struct {
	cfg Config

	mu      sync.Mutex
	changed sync.Cond // out was taken or the connection broke; with mu
	conn    net.Conn  // nil while there is none
	out     []byte    // frames to write
	wake    chan struct{}
	closed  chan struct{} // by Close
	done    sync.WaitGroup
}

// Config is what a [Conn] works with. Every field is needed.
type Config struct {
	Dial          func() (net.Conn, error)
	Name          string        // of the client, for the server's reports
	Inbox         string        // answers come to "<inbox>.*"
	SubjectPrefix string        // of every message
	MaxPayload    int           // bytes of headers and body that the server takes
	WriteTimeout  time.Duration // with a server that does not read; then the connection is broken
	// OnAnswer is called with each answer: the subject that it came to, whether it
	// says that no stream listens, and the answer. The bytes are valid during the call
	// only. OnRead is called when there are no more for now. Both are called by one
	// goroutine.
	OnAnswer func(subject []byte, noStream bool, answer []byte)
	OnRead   func()
	// OnLost is called when the connection breaks, OnBack when there is a new one.
	OnLost func(error)
	OnBack func()
}

// Message is what a publish sends. Publish keeps no reference to it.
type Message struct {
	Courier string      // what follows the subject's prefix
	Reply   string      // subject of the answer
	Headers [][2]string // name and value of each; without line breaks
	Body    []byte
}

const (
	maxQueued      = 4 << 20 // with more bytes than that to write, publishes wait
	keptBuffer     = 1 << 20 // a larger buffer is given up after its use
	connectTimeout = 2 * time.Second
	retryEvery     = 20 * time.Millisecond
	readBuffer     = 64 << 10
)

var (
	// ErrDown is what a publish gets while there is no connection.
	ErrDown = errors.New("not connected to the broker")
	// ErrTooLarge is what a message over MaxPayload gets.
	ErrTooLarge = errors.New("larger than the broker takes")
)

// Open connects, trying until ctx ends, and keeps connected until [Conn.Close].
func Open(ctx context.Context, cfg Config) (*Conn, error) {
	c := newConn(cfg)
	in, err := c.connect()
	for err != nil {
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryEvery):
		}
		in, err = c.connect()
	}
	c.set(in.conn)
	c.done.Go(func() { c.serveAll(in) })
	return c, nil
}

func newConn(cfg Config) *Conn {
	c := &Conn{cfg: cfg, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	c.changed.L = &c.mu
	return c
}

// Close ends the connection for good. It may be called once.
func (c *Conn) Close() {
	close(c.closed)
	c.mu.Lock()
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.mu.Unlock()
	c.done.Wait()
}

// Connected reports whether a publish would be sent.
func (c *Conn) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil
}

// serveAll serves one connection after the other.
func (c *Conn) serveAll(in *frames) {
	for {
		err := c.serve(in)
		c.set(nil)
		c.cfg.OnLost(err)
		for in = nil; in == nil; {
			select {
			case <-c.closed:
				return
			case <-time.After(retryEvery):
			}
			in, _ = c.connect()
		}
		c.set(in.conn)
		c.cfg.OnBack()
	}
}

// set makes conn the current connection, with nothing to write yet.
func (c *Conn) set(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		if conn != nil {
			_ = conn.Close()
		}
	default:
	}
	c.conn, c.out = conn, c.out[:0]
	c.changed.Broadcast()
}

// connect opens a connection, sends CONNECT, and waits for the server's answer.
func (c *Conn) connect() (*frames, error) {
	conn, err := c.cfg.Dial()
	if err != nil {
		return nil, err
	}
	in := &frames{conn: conn, buf: make([]byte, readBuffer)}
	if err := c.handshake(in); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("handshake with the embedded broker: %w", err)
	}
	return in, nil
}

func (c *Conn) handshake(in *frames) error {
	if err := in.conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	if err := in.await("INFO"); err != nil {
		return err
	}
	request := fmt.Sprintf(`CONNECT {"verbose":false,"pedantic":false,"lang":"go","name":%q,"protocol":1,"headers":true,"no_responders":true}`, c.cfg.Name) +
		"\r\nSUB " + c.cfg.Inbox + ".* 1\r\nPING\r\n"
	if _, err := in.conn.Write([]byte(request)); err != nil {
		return err
	}
	if err := in.await("PONG"); err != nil {
		return err
	}
	return in.conn.SetDeadline(time.Time{})
}

// serve writes and reads until the connection breaks.
func (c *Conn) serve(in *frames) error {
	ended := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { c.write(in.conn, ended) })
	err := c.read(in)
	_ = in.conn.Close()
	close(ended)
	writer.Wait()
	return err
}

// write writes what publishes have left until conn breaks or ended.
func (c *Conn) write(conn net.Conn, ended <-chan struct{}) {
	var taken []byte
	stuck := time.AfterFunc(c.cfg.WriteTimeout, func() { _ = conn.Close() })
	defer stuck.Stop()
	for {
		stuck.Stop()
		select {
		case <-c.wake:
		case <-ended:
			return
		}
		c.mu.Lock()
		if c.conn != conn {
			c.mu.Unlock()
			return
		}
		taken, c.out = c.out, taken[:0]
		c.changed.Broadcast()
		c.mu.Unlock()
		stuck.Reset(c.cfg.WriteTimeout)
		if _, err := conn.Write(taken); err != nil {
			_ = conn.Close() // ends the reading too
			return
		}
		if cap(taken) > keptBuffer {
			taken = nil
		}
	}
}

// read passes on what the server sends until the connection breaks.
func (c *Conn) read(in *frames) error {
	for {
		f, ok, err := in.buffered()
		if err != nil {
			return err
		}
		if !ok {
			c.cfg.OnRead()
			if err := in.more(); err != nil {
				return err
			}
			continue
		}
		switch f.kind {
		case "MSG":
			c.cfg.OnAnswer(f.subject, bytes.HasPrefix(f.header, []byte(noResponders)), f.data)
		case "PING":
			c.queue([]byte("PONG\r\n"))
		case "-ERR":
			return fmt.Errorf("the broker says %s", f.data)
		}
	}
}

// signalWriter leaves a token for the goroutine that writes.
func (c *Conn) signalWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// queue leaves bytes to be written.
func (c *Conn) queue(b []byte) {
	c.mu.Lock()
	if c.conn != nil {
		c.out = append(c.out, b...)
	}
	c.mu.Unlock()
	c.signalWriter()
}

const (
	headerLine   = "NATS/1.0\r\n"
	noResponders = "NATS/1.0 503" // begins the headers of an answer for a stream that no server has
)

// Publish leaves a message to be written. It fails with [ErrDown] when there is no
// connection, and with [ErrTooLarge]. While the server does not read, it waits, for
// no longer than WriteTimeout. After an error nothing is sent.
func (c *Conn) Publish(m Message) error {
	size := len(headerLine) + len("\r\n")
	for _, h := range m.Headers {
		size += len(h[0]) + len(": ") + len(h[1]) + len("\r\n")
	}
	all := size + len(m.Body)
	if all > c.cfg.MaxPayload {
		return ErrTooLarge
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > maxQueued && c.conn != nil {
		c.changed.Wait()
	}
	if c.conn == nil {
		return ErrDown
	}
	b := append(append(c.out, "HPUB "...), c.cfg.SubjectPrefix...)
	b = append(b, m.Courier...)
	b = append(append(b, ' '), m.Reply...)
	b = strconv.AppendInt(append(b, ' '), int64(size), 10)
	b = strconv.AppendInt(append(b, ' '), int64(all), 10)
	b = append(b, "\r\n"+headerLine...)
	for _, h := range m.Headers {
		b = append(append(b, h[0]...), ": "...)
		b = append(append(b, h[1]...), "\r\n"...)
	}
	b = append(append(b, "\r\n"...), m.Body...)
	c.out = append(b, "\r\n"...)
	c.signalWriter()
	return nil
}
