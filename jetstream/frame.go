package jetstream

import (
	"bytes"
	"errors"
)

// frame is one thing that the server says.
type frame struct {
	kind    string // MSG (also for HMSG), PING, PONG, INFO, +OK or -ERR
	subject []byte // of a MSG
	header  []byte // of a MSG, nil when it has none
	data    []byte // of a MSG, or what follows the word
}

// maxFrame bounds what one answer may hold.
const maxFrame = 1 << 20

var errFrame = errors.New("the broker says what is no answer to a publish")

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

// parseMsg reads a message whose line ends at start: subject, subscription, with
// a header its length, and the length of all.
func parseMsg(b []byte, start int, line []byte, hasHeader bool) (f frame, used int, err error) {
	f.kind = "MSG"
	var ok bool
	if f.subject, line, ok = bytes.Cut(line, []byte(" ")); !ok {
		return f, 0, errFrame
	}
	if _, line, ok = bytes.Cut(line, []byte(" ")); !ok {
		return f, 0, errFrame
	}
	header := 0
	if hasHeader {
		var number []byte
		if number, line, ok = bytes.Cut(line, []byte(" ")); !ok {
			return f, 0, errFrame
		}
		if header, ok = parseLength(number); !ok {
			return f, 0, errFrame
		}
	}
	all, ok := parseLength(line)
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
	if len(b) == 0 || len(b) > 7 {
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
