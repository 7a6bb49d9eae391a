package embedconn

import (
	"bytes"
	"errors"
	"net"
)

// frame is one unit of what the server sends.
type frame struct {
	kind    string // MSG (also for HMSG), PING, PONG, INFO, +OK or -ERR
	subject []byte // of a MSG
	reply   []byte // of a MSG, nil when it has none
	header  []byte // of a MSG, nil when it has none
	data    []byte // of a MSG, or what follows the kind
}

// maxFrame bounds what one frame may hold; the broker takes no larger messages.
const maxFrame = 64 << 20

var errFrame = errors.New("the broker sends what can't be understood")

// parseFrame reads the first frame of b; used is 0 when b doesn't hold all of it.
// The frame refers to b.
func parseFrame(b []byte) (f frame, used int, err error) {
	line, _, complete := bytes.Cut(b, []byte("\r\n"))
	if !complete {
		if len(b) > maxFrame {
			return f, 0, errFrame
		}
		return f, 0, nil
	}
	used = len(line) + 2
	word, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(word) {
	case "MSG", "HMSG":
		return parseMsg(b, used, rest, word[0] == 'H')
	case "PING":
		f.kind = "PING"
	case "PONG":
		f.kind = "PONG"
	case "INFO":
		f.kind = "INFO"
	case "+OK":
		f.kind = "+OK"
	case "-ERR":
		f.kind = "-ERR"
	default:
		return f, 0, errFrame
	}
	f.data = rest
	return f, used, nil
}

// parseMsg reads a message whose line ends at start: its subject, a subscription,
// a reply if it has one, the length of the header if it has one, and of all.
func parseMsg(b []byte, start int, line []byte, hasHeader bool) (f frame, used int, err error) {
	f.kind = "MSG"
	var fields [5][]byte
	n := 0
	for more := true; more; n++ {
		if n == len(fields) {
			return f, 0, errFrame
		}
		fields[n], line, more = bytes.Cut(line, []byte(" "))
	}
	lengths := 1
	if hasHeader {
		lengths = 2
	}
	if n != 2+lengths && n != 3+lengths {
		return f, 0, errFrame
	}
	f.subject = fields[0]
	if n == 3+lengths {
		f.reply = fields[2]
	}
	all, ok := parseLength(fields[n-1])
	header := 0
	if hasHeader && ok {
		header, ok = parseLength(fields[n-2])
	}
	if !ok || header > all {
		return f, 0, errFrame
	}
	end := start + all
	if len(b) < end+2 {
		return f, 0, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return f, 0, errFrame
	}
	if hasHeader {
		f.header = b[start : start+header]
	}
	f.data = b[start+header : end]
	return f, end + 2, nil
}

// parseLength reads a length of at most maxFrame.
func parseLength(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, n <= maxFrame
}

// frames reads a connection frame by frame.
type frames struct {
	conn   net.Conn
	buf    []byte
	unread []byte // of buf
}

// buffered returns the next frame of what has been read; ok is false when more
// has to be read first. The frame is valid until then.
func (r *frames) buffered() (f frame, ok bool, err error) {
	f, used, err := parseFrame(r.unread)
	r.unread = r.unread[used:]
	return f, used > 0, err
}

// more reads what has come, at least a byte.
func (r *frames) more() error {
	if len(r.unread) == len(r.buf) { // one frame that is longer
		r.buf = make([]byte, 2*len(r.buf))
	}
	have := copy(r.buf, r.unread)
	n, err := r.conn.Read(r.buf[have:])
	r.unread = r.buf[:have+n]
	return err
}

// next returns the next frame.
func (r *frames) next() (frame, error) {
	for {
		f, ok, err := r.buffered()
		if ok || err != nil {
			return f, err
		}
		if err := r.more(); err != nil {
			return f, err
		}
	}
}

// await reads up to a frame of the given kind.
func (r *frames) await(kind string) error {
	for {
		f, err := r.next()
		if err != nil || f.kind == kind {
			return err
		}
	}
}
