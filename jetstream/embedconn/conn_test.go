package embedconn

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestParseFrame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want frame
		used int
	}{
		{"MSG _INBOX.a.0-0 1 5\r\nhello\r\nMSG", frame{kind: "MSG", subject: []byte("_INBOX.a.0-0"), data: []byte("hello")}, 29},
		{"MSG a 1 0\r\n\r\n", frame{kind: "MSG", subject: []byte("a"), data: []byte{}}, 13},
		{"HMSG a 1 16 18\r\nNATS/1.0 503\r\n\r\nok\r\n", frame{kind: "MSG", subject: []byte("a"), header: []byte("NATS/1.0 503\r\n\r\n"), data: []byte("ok")}, 36},
		{"HMSG events.demo 9 $JS.ACK.x 12 14\r\nNATS/1.0\r\n\r\nok\r\n", frame{kind: "MSG", subject: []byte("events.demo"), reply: []byte("$JS.ACK.x"), header: []byte("NATS/1.0\r\n\r\n"), data: []byte("ok")}, 52},
		{"MSG a 1 b 0\r\n\r\n", frame{kind: "MSG", subject: []byte("a"), reply: []byte("b")}, 15},
		{"PING\r\n", frame{kind: "PING"}, 6},
		{"+OK\r\n", frame{kind: "+OK"}, 5},
		{"-ERR 'Stale Connection'\r\n", frame{kind: "-ERR", data: []byte("'Stale Connection'")}, 25},
		{"INFO {\"a\":1}\r\n", frame{kind: "INFO", data: []byte(`{"a":1}`)}, 14},
	} {
		f, used, err := parseFrame([]byte(c.in))
		if err != nil || used != c.used || f.kind != c.want.kind || !bytes.Equal(f.subject, c.want.subject) ||
			!bytes.Equal(f.reply, c.want.reply) || !bytes.Equal(f.header, c.want.header) || !bytes.Equal(f.data, c.want.data) {
			t.Errorf("%q: %+v, %d, %v, want %+v, %d", c.in, f, used, err, c.want, c.used)
		}
		for n := range c.used {
			if _, used, err := parseFrame([]byte(c.in[:n])); used != 0 || err != nil {
				t.Errorf("%q: %d, %v, want more to be awaited", c.in[:n], used, err)
			}
		}
	}
	for _, in := range []string{
		"\r\n", "HELLO\r\n", "msg a 1 0\r\n\r\n", "MSG\r\n", "MSG a\r\n", "MSG a 1\r\n", "MSG a 1 x\r\n", "MSG a 1 -1\r\n", "MSG a 1 b c 0\r\n\r\n", "HMSG a 1 b c d 0\r\n\r\n", "MSG a 1 99999999\r\n",
		"MSG a 1 5\r\nhelloMSG a", "HMSG a 1 5\r\n", "HMSG a 1 6 5\r\n", "HMSG a 1 x 5\r\n", strings.Repeat("x", maxFrame+1),
	} {
		if f, used, err := parseFrame([]byte(in)); err == nil {
			t.Errorf("%.40q: %+v, %d, want an error", in, f, used)
		}
	}
}

// FuzzParseFrame checks that a frame is read the same however it arrives.
func FuzzParseFrame(f *testing.F) {
	for _, s := range []string{"MSG a 1 5\r\nhello\r\n", "HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nok\r\n", "PING\r\n", "-ERR 'x'\r\n", "MSG a 1 9999999\r\n", "INFO {}\r\n"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		got, used, err := parseFrame(b)
		if err != nil || used == 0 {
			return
		}
		if used > len(b) || len(got.subject)+len(got.reply)+len(got.header)+len(got.data) > used {
			t.Fatalf("%q: %+v uses %d", b, got, used)
		}
		again, same, err := parseFrame(b[:used])
		if err != nil || same != used || again.kind != got.kind || !bytes.Equal(again.data, got.data) {
			t.Fatalf("%q: %+v, %d, %v without what follows, want %+v, %d", b, again, same, err, got, used)
		}
		if cut > 0 && cut < used {
			if _, part, err := parseFrame(b[:cut]); part != 0 || err != nil {
				t.Fatalf("%q: %d, %v, want more to be awaited", b[:cut], part, err)
			}
		}
	})
}

// peer is the far end of a connection, as its test needs it.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// quiet is a configuration whose callbacks do nothing.
func quiet() Config {
	return Config{
		Inbox: "in", SubjectPrefix: "events.", MaxPayload: 16 << 20, WriteTimeout: time.Minute,
		OnAnswer: func([]byte, bool, []byte) {}, OnRead: func() {}, OnLost: func(error) {}, OnBack: func() {},
	}
}

// connTo returns a Conn whose connections end at the peers that come out of the
// channel, after the handshake.
func connTo(t *testing.T, cfg Config) (*Conn, <-chan *peer) {
	t.Helper()
	peers := make(chan *peer, 1)
	cfg.Dial = func() (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			p := &peer{t: t, conn: far, in: bufio.NewReader(far)}
			p.say("INFO {}\r\n")
			p.hears("CONNECT {")
			p.hears("SUB in.* 1")
			p.hears("PING")
			p.say("PONG\r\n")
			peers <- p
		}()
		return near, nil
	}
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, peers
}

// message is a publish of an event with a body.
func message(body []byte) Message {
	return Message{Courier: "demo", Reply: "in.0-0", Headers: [][2]string{{"Nats-Msg-Id", "demo:k"}, {"Gw-Key", "k"}}, Body: body}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

func (p *peer) say(s string) {
	if _, err := io.WriteString(p.conn, s); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		p.t.Errorf("say %q: %v", s, err)
	}
}

func (p *peer) hears(start string) {
	line, err := p.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, start) {
		p.t.Errorf("heard %q, %v, want %q", line, err, start)
	}
}

func TestConnSpeaks(t *testing.T) {
	t.Parallel()
	var got []string
	reads := make(chan int, 100) // how many there are by then
	cfg := quiet()
	cfg.OnAnswer = func(subject []byte, noStream bool, answer []byte) {
		got = append(got, fmt.Sprintf("%s %v %d", subject, noStream, len(answer)))
	}
	cfg.OnRead = func() { reads <- len(got) }
	c, peers := connTo(t, cfg)
	far := <-peers
	far.say("PING\r\n")
	far.hears("PONG")

	m := message([]byte(`{"eventId":"evt_k"}`))
	if err := c.Publish(m); err != nil {
		t.Fatal(err)
	}
	var subject, reply string
	var header, all int
	if _, err := fmt.Fscanf(far.in, "HPUB %s %s %d %d\r\n", &subject, &reply, &header, &all); err != nil || subject != "events.demo" || reply != "in.0-0" {
		t.Fatalf("%s %s %d %d, %v", subject, reply, header, all, err)
	}
	block := make([]byte, all+2)
	if _, err := io.ReadFull(far.in, block); err != nil {
		t.Fatal(err)
	}
	if h, err := nats.DecodeHeadersMsg(block[:header]); err != nil || len(h) != 2 || h.Get("Gw-Key") != "k" || h.Get("Nats-Msg-Id") != "demo:k" {
		t.Errorf("headers %q, %v", block[:header], err)
	}
	if string(block[header:]) != string(m.Body)+"\r\n" {
		t.Errorf("body %q", block[header:])
	}

	// An answer longer than the buffer, in pieces, and one behind it.
	big := strings.Repeat("x", 3*readBuffer)
	far.say(fmt.Sprintf("MSG in.0-0 1 %d\r\n%s", len(big), big[:10]))
	far.say(big[10:] + "\r\nHMSG in.1-0 1 16 16\r\nNATS/1.0 503\r\n\r")
	far.say("\n\r\n")
	eventually(t, "both answers", func() bool { return <-reads == 2 })
	if want := []string{fmt.Sprintf("in.0-0 false %d", len(big)), "in.1-0 true 0"}; got[0] != want[0] || got[1] != want[1] {
		t.Errorf("answers %q, want %q", got, want)
	}
}

func TestConnComesBack(t *testing.T) {
	t.Parallel()
	lost, back := make(chan error, 1), make(chan struct{}, 1)
	cfg := quiet()
	cfg.OnLost, cfg.OnBack = func(err error) { lost <- err }, func() { back <- struct{}{} }
	c, peers := connTo(t, cfg)
	for _, ending := range []struct {
		end  func(*peer)
		want string
	}{
		{func(far *peer) { far.say("-ERR 'Stale Connection'\r\n") }, "Stale Connection"},
		{func(far *peer) { far.say("hello?\r\n") }, errFrame.Error()},
		{func(far *peer) { far.conn.Close() }, "EOF"},
	} {
		far := <-peers
		ending.end(far)
		if err := <-lost; err == nil || !strings.Contains(err.Error(), ending.want) {
			t.Errorf("lost for %v, want %s", err, ending.want)
		}
		<-back
		if !c.Connected() {
			t.Error("not connected after it came back")
		}
	}
}

// TestConnThatIsNotReadHoldsPublishesBack keeps a server from reading: publishes
// wait rather than fill the memory, until it reads on or is gone.
func TestConnThatIsNotReadHoldsPublishesBack(t *testing.T) {
	t.Parallel()
	c, peers := connTo(t, quiet())
	far := <-peers
	const callers, size = 20, 1 << 20
	var sent, down atomic.Int32
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			switch err := c.Publish(message(make([]byte, size))); {
			case err == nil:
				sent.Add(1)
			case errors.Is(err, ErrDown):
				down.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	queued := func() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.out) }
	eventually(t, "the queue is full", func() bool { return queued() > maxQueued })
	if n := queued(); n > maxQueued+2*size {
		t.Errorf("%d bytes are queued, want no more than one event above %d", n, maxQueued)
	}
	before := sent.Load()
	if before == callers {
		t.Error("no publish was held back")
	}
	if _, err := io.CopyN(io.Discard, far.in, 5*size); err != nil {
		t.Fatal(err)
	}
	eventually(t, "others to follow", func() bool { return sent.Load() > before })
	far.conn.Close()
	wg.Wait()
	if sent.Load()+down.Load() != callers || down.Load() == 0 {
		t.Errorf("%d sent, %d refused", sent.Load(), down.Load())
	}
}

// TestConnThatIsNeverReadBreaks keeps a server from reading for good.
func TestConnThatIsNeverReadBreaks(t *testing.T) {
	t.Parallel()
	lost := make(chan error, 1)
	cfg := quiet()
	cfg.WriteTimeout = 50 * time.Millisecond
	cfg.OnLost = func(err error) {
		select {
		case lost <- err:
		default:
		}
	}
	c, peers := connTo(t, cfg)
	<-peers
	m := message(make([]byte, 1<<20))
	var err error
	for i := 0; err == nil && i < 10; i++ { // more than the queue takes
		err = c.Publish(m)
	}
	if !errors.Is(err, ErrDown) {
		t.Errorf("a publish to a server that does not read: %v", err)
	}
	if err := <-lost; err == nil {
		t.Error("lost without a reason")
	}
}

func TestConnAllocates(t *testing.T) {
	cfg := quiet()
	c := newConn(cfg)
	c.conn, _ = net.Pipe()
	m := message([]byte(`{"eventId":"evt_k"}`))
	publish := func() {
		if err := c.Publish(m); err != nil {
			t.Fatal(err)
		}
		c.out = c.out[:0]
	}
	publish()
	if n := testing.AllocsPerRun(100, publish); n != 0 {
		t.Errorf("%v allocations for a publish, want none", n)
	}
	answer := []byte("MSG in.0-0 1 29\r\n" + `{"stream":"EVENTS", "seq":22}` + "\r\n")
	if n := testing.AllocsPerRun(100, func() {
		if f, _, err := parseFrame(answer); err != nil || f.kind != "MSG" {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for an answer, want none", n)
	}
}

func TestConnGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	cfg := quiet()
	cfg.Dial = func() (net.Conn, error) { return nil, errors.New("stopped") }
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, cfg); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("open: %v", err)
	}
}
