//go:build unix

package bench

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// raw does an exchange with one system call less: [net.Conn] would try to read
// right after the request is written, when there can't be anything yet, and only
// then wait. Here the request is written where the runtime expects the first try
// to read; then it waits. It is not safe for concurrent use.
type raw struct {
	conn    net.Conn
	fd      syscall.RawConn
	step    func(fd uintptr) bool
	request []byte // until it is written
	in      []byte
	n       int
	err     error
}

// newRaw returns nil for a connection that is no file descriptor, such as one by
// TLS.
func newRaw(conn net.Conn) *raw {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	fd, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	r := &raw{conn: conn, fd: fd}
	r.step = r.try // bound once, so that an exchange allocates nothing
	return r
}

// exchange writes the request and reads what comes first into in.
func (r *raw) exchange(request, in []byte) (n int, err error) {
	r.request, r.in, r.n, r.err = request, in, 0, nil
	if err := r.fd.Read(r.step); err != nil {
		return 0, err
	}
	return r.n, r.err
}

// try is called first for the write, and then whenever there may be something to
// read. It reports whether the exchange is over. The runtime has forgotten all
// earlier readiness before the first call, so an answer can't slip by.
func (r *raw) try(fd uintptr) (done bool) {
	if len(r.request) > 0 {
		r.write(int(fd))
		r.request = nil
		return r.err != nil
	}
	for {
		switch r.n, r.err = syscall.Read(int(fd), r.in); {
		case errors.Is(r.err, syscall.EINTR):
		case errors.Is(r.err, syscall.EAGAIN):
			r.n, r.err = 0, nil
			return false
		case r.err == nil && r.n == 0:
			r.err = io.EOF
			return true
		default:
			return true
		}
	}
}

// write writes the request; what the system does not take at once goes the usual
// way.
func (r *raw) write(fd int) {
	n, err := syscall.Write(fd, r.request)
	if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EAGAIN) {
		n, err = 0, nil
	}
	if err == nil && n < len(r.request) {
		_, err = r.conn.Write(r.request[max(n, 0):])
	}
	r.err = err
}
