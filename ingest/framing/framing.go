// Package framing refuses what fasthttp reads in one way and another program on the
// request's way may read in another, so that the two disagree where a request ends or
// what it says (RFC 9112, sections 2.2, 5 to 7). Every byte of a connection passes through
// it before fasthttp sees it:
//
//	request line ─▶ headers ─┬─▶ body of a length ──────────────────────┬─▶ next request
//	                         └─▶ chunk size ─▶ chunk ─▶ … ─▶ 0 ─▶ trailers ┘
//
// What comes in goes out, but for extensions of chunks and trailers, which fasthttp would
// read as headers. No bytes are kept, and a connection ends at its first [Fault]: of the
// line in question nothing more goes out, and all that is read afterwards is the fault,
// which becomes the answer. The intake wraps its listener in a [Listener].
package framing

import "bytes"

const (
	// lineHead is how much of a line is kept when it comes in parts. A header that says
	// how long a body is must fit in.
	lineHead = 64
	// maxLengthDigits bounds a Content-Length, so that it fits an int64.
	maxLengthDigits = 18
	// maxChunkDigits bounds the size of a chunk.
	maxChunkDigits = 8
	// maxChunkExtras bounds the bytes of extensions and trailers of one request.
	maxChunkExtras = 4 << 10
)

// Fault is why a request is refused by its framing. Its text is for the sender.
type Fault struct{ detail string }

// Error returns the text.
func (f *Fault) Error() string { return f.detail }

var (
	faultNoHTTP     = &Fault{"the request is not valid HTTP/1.1"}
	faultVersion    = &Fault{"the request line must end in HTTP/1.1 or HTTP/1.0"}
	faultBareLF     = &Fault{"the request is not valid HTTP/1.1: a line ends without a carriage return"}
	faultFold       = &Fault{"the request is not valid HTTP/1.1: a header goes on in a second line"}
	faultNoColon    = &Fault{"the request is not valid HTTP/1.1: a header has no colon"}
	faultName       = &Fault{"the request is not valid HTTP/1.1: there is a space or no name before the colon of a header"}
	faultLength     = &Fault{"the request is not valid HTTP/1.1: content-length is no number of bytes"}
	faultLengths    = &Fault{"the request is not valid HTTP/1.1: there is more than one content-length"}
	faultBoth       = &Fault{"the request is not valid HTTP/1.1: it has both content-length and transfer-encoding"}
	faultEncoding   = &Fault{"the request is not valid HTTP/1.1: transfer-encoding must be chunked, once"}
	faultEncoding10 = &Fault{"the request is not valid HTTP/1.0, which has no transfer-encoding"}
	faultChunk      = &Fault{"the request is not valid HTTP/1.1: a chunk of the body is malformed"}
	faultExtras     = &Fault{"chunk extensions and trailers of the request are longer than 4096 bytes"}
)

// state is what comes next on a connection.
type state uint8

const (
	atRequestLine state = iota
	atEmptyLF           // behind a CR in front of a request line
	atHeader
	atHeadLF // behind the CR that ends the headers
	atBody
	atChunkSize
	atExtension
	atChunkLF // behind the size
	atChunk
	atChunkEnd   // CR behind a chunk
	atChunkEndLF // and LF
	atTrailer
	atEndLF // the last byte of a request in chunks
)

// framing follows the requests of one connection. The zero value is at its beginning.
type framing struct {
	state state
	begun bool   // something of this request was passed on
	fault *Fault // forever

	line    int            // bytes of the line so far
	named   bool           // its colon has come
	head    [lineHead]byte // the beginning of a line that comes in parts
	tail    [11]byte       // the end of a line that comes in parts, as long as " HTTP/1.1\r\n"
	http10  bool
	hasSize bool  // Content-Length is there
	chunked bool  // Transfer-Encoding is there
	left    int64 // of the body, or of a chunk
	digits  int   // of a chunk's size
	extras  int   // see maxChunkExtras

	progress Progress // nil for none
}

// Progress is called as the requests of a connection are read.
type Progress interface {
	HeadRead()    // the headers of another request are all there
	RequestRead() // so is the rest of it
}

// pass looks at the next bytes of the connection and returns how many of them are to be
// passed on; it moves them to the front.
func (f *framing) pass(b []byte) (kept int) {
	for i := 0; i < len(b) && f.fault == nil; {
		n, keep := f.step(b[i:])
		if f.fault != nil {
			if !f.begun { // fasthttp answers no connection that has not sent anything
				b[kept] = '!'
				kept++
			}
			return kept
		}
		if keep {
			if kept != i {
				copy(b[kept:], b[i:i+n])
			}
			kept += n
		}
		i += n
	}
	return kept
}

// step goes on by the first n bytes of b, at least one, and says whether they are to be
// passed on.
func (f *framing) step(b []byte) (n int, keep bool) {
	switch f.state {
	case atRequestLine, atHeader, atTrailer:
		if f.line == 0 && f.lineBegins(b[0]) {
			return 1, true
		}
		if f.fault != nil {
			return 0, false
		}
		return f.lineStep(b)
	case atBody, atChunk:
		n = int(min(f.left, int64(len(b))))
		if f.left -= int64(n); f.left > 0 {
			return n, true
		}
		if f.state == atChunk {
			f.state = atChunkEnd
		} else {
			f.next()
		}
		return n, true
	case atEmptyLF, atHeadLF, atChunkLF, atChunkEndLF, atEndLF:
		f.endStep(b[0])
		return 1, true
	default:
		return 1, f.chunkStep(b[0])
	}
}

// next begins another request.
func (f *framing) next() {
	progress := f.progress
	*f = framing{progress: progress}
	if progress != nil {
		progress.RequestRead()
	}
}

// lineBegins looks at the first byte of a line, and reports whether the line is empty.
func (f *framing) lineBegins(c byte) (empty bool) {
	switch {
	case c == '\r':
		switch f.state {
		case atRequestLine:
			f.state = atEmptyLF
		case atHeader:
			f.state = atHeadLF
		default:
			f.state = atEndLF
		}
		return true
	case c == '\n':
		f.fault = faultBareLF
	case f.state == atRequestLine && (c <= ' ' || c > '~'):
		f.fault = faultNoHTTP
	case f.state != atRequestLine && (c == ' ' || c == '\t'):
		f.fault = faultFold
	}
	return false
}

// lineStep goes on by a line that is not empty, or by what has come of it.
func (f *framing) lineStep(b []byte) (n int, keep bool) {
	n = bytes.IndexByte(b, '\n') + 1
	whole := f.line == 0 && n > 0
	if n == 0 {
		n = len(b)
	}
	part := b[:n]
	if f.state != atRequestLine && !f.named {
		f.nameStep(part)
	}
	if keep = f.state != atTrailer; !keep {
		f.addExtras(n)
	}
	if f.fault != nil {
		return 0, false
	}
	if whole {
		f.endLine(part, part)
	} else {
		f.partStep(part)
	}
	f.begun = f.begun || f.fault == nil
	return n, keep
}

// nameStep looks at what is in front of the colon of a header.
func (f *framing) nameStep(part []byte) {
	for i, c := range part {
		switch {
		case c == ':':
			if f.named = true; f.line+i == 0 {
				f.fault = faultName
			}
			return
		case c == '\r' || c == '\n':
			f.fault = faultNoColon
			return
		case c <= ' ' || c > '~':
			f.fault = faultName
			return
		}
	}
}

// partStep keeps what is needed of a line that comes in parts.
func (f *framing) partStep(part []byte) {
	if f.line < lineHead {
		copy(f.head[f.line:], part)
	}
	n := min(len(part), len(f.tail))
	copy(f.tail[:], f.tail[n:])
	copy(f.tail[len(f.tail)-n:], part[len(part)-n:])
	f.line += len(part)
	if part[len(part)-1] == '\n' {
		f.endLine(f.head[:min(f.line, lineHead)], f.tail[max(0, len(f.tail)-f.line):])
	}
}

// endLine is called with the beginning and the end of a line that is all there.
func (f *framing) endLine(head, tail []byte) {
	if tail[len(tail)-2] != '\r' {
		f.fault = faultBareLF
		return
	}
	switch f.state {
	case atRequestLine:
		version, ok := bytes.CutSuffix(tail, []byte("\r\n"))
		f.http10 = bytes.HasSuffix(version, []byte(" HTTP/1.0"))
		if !ok || !f.http10 && !bytes.HasSuffix(version, []byte(" HTTP/1.1")) {
			f.fault = faultVersion
		}
		f.state = atHeader
	case atHeader:
		f.header(head)
	default: // a trailer says nothing of where the body ends
	}
	f.line, f.named = 0, false
}

// header looks for what says where the body ends.
func (f *framing) header(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	isSize := EqualFold(name, "content-length")
	if !isSize && !EqualFold(name, "transfer-encoding") {
		return
	}
	if isSize && f.chunked || !isSize && f.hasSize {
		f.fault = faultBoth
		return
	}
	value, ended := bytes.CutSuffix(value, []byte("\r\n")) // or it is longer than what is kept of it
	value = bytes.Trim(value, " \t")
	switch {
	case !isSize && f.http10:
		f.fault = faultEncoding10
	case !isSize && (f.chunked || !ended || len(line) > lineHead || !EqualFold(value, "chunked")):
		f.fault = faultEncoding
	case !isSize:
		f.chunked = true
	case f.hasSize:
		f.fault = faultLengths
	case !ended || len(line) > lineHead:
		f.fault = faultLength
	default:
		f.hasSize = true
		f.size(value)
	}
}

// size reads a Content-Length.
func (f *framing) size(digits []byte) {
	if len(digits) == 0 || len(digits) > maxLengthDigits {
		f.fault = faultLength
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			f.fault = faultLength
			return
		}
		f.left = 10*f.left + int64(c-'0')
	}
}

// endStep goes on by the LF that has to come.
func (f *framing) endStep(c byte) {
	if c != '\n' {
		f.fault = faultBareLF
		if f.state == atChunkLF || f.state == atChunkEndLF {
			f.fault = faultChunk
		}
		return
	}
	switch f.state {
	case atEmptyLF:
		f.state = atRequestLine
	case atHeadLF:
		if f.progress != nil {
			f.progress.HeadRead()
		}
		switch {
		case f.chunked:
			f.state = atChunkSize
		case f.left > 0:
			f.state = atBody
		default:
			f.next()
		}
	case atChunkLF:
		if f.digits = 0; f.left > 0 {
			f.state = atChunk
		} else {
			f.state = atTrailer
		}
	case atChunkEndLF:
		f.state = atChunkSize
	default:
		f.next()
	}
}

// chunkStep goes on by a byte of a chunk's size, its extension, or the CR behind a chunk.
func (f *framing) chunkStep(c byte) (keep bool) {
	switch f.state {
	case atChunkEnd:
		if c != '\r' {
			f.fault = faultChunk
		}
		f.state = atChunkEndLF
		return true
	case atChunkSize:
		if digit := hexDigit(c); digit >= 0 {
			if f.digits++; f.digits > maxChunkDigits {
				f.fault = faultChunk
			}
			f.left = f.left<<4 | int64(digit)
			return true
		}
		if f.digits == 0 || c != '\r' && c != ';' && c != ' ' && c != '\t' {
			f.fault = faultChunk
			return false
		}
	default: // atExtension, which any byte but a control character may go on
	}
	if c == '\r' {
		f.state = atChunkLF
		return true
	}
	if f.state = atExtension; c < ' ' && c != '\t' || c == 0x7f {
		f.fault = faultChunk
	}
	f.addExtras(1)
	return false
}

func (f *framing) addExtras(n int) {
	if f.extras += n; f.extras > maxChunkExtras && f.fault == nil {
		f.fault = faultExtras
	}
}

// hexDigit returns the value of a hexadecimal digit, -1 for none.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	default:
		return -1
	}
}

// EqualFold reports whether b is a word of lower-case ASCII, whatever the case of its
// letters. A text with other letters that fold to those of the word has more bytes.
func EqualFold(b []byte, word string) bool {
	return len(b) == len(word) && bytes.EqualFold(b, []byte(word))
}
