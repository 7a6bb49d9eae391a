package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"

	"github.com/fincart/courier-gateway/appliance/config"
)

// database is a MongoDB behind a proxy that can cut it off or let it hang: the one
// that MONGO_URI names, or an embedded FerretDB, which speaks the same protocol.
type database struct {
	uri     string
	backend string
	address string
	genuine bool
	secured *tls.Config // of the proxy, nil for none

	// fault, when it is set, is asked before each command by its name, and its answer
	// is the server's unless it is 0: the number of an error.
	fault  atomic.Pointer[func(command string) int32]
	faults atomic.Int64 // how often it was not 0

	turn sync.RWMutex // held for reading while a command is under way, for writing while it hangs
	one  sync.Mutex   // held while a command is under way on FerretDB

	mu    sync.Mutex
	ln    net.Listener // nil while cut off
	conns map[net.Conn]bool
}

// rate is the load that the database can take, in events per second. FerretDB
// reads a whole collection for each update.
func (d *database) rate() int {
	if d.genuine {
		return drillRate
	}
	return 10
}

// use fits a configuration to the database. FerretDB has no TTL indexes and never
// answers a command with a hundred updates or more; under the race detector, on a
// busy machine, each update takes its time.
func (d *database) use(t *testing.T, cfg *config.Config) {
	t.Helper()
	cfg.Persistence.MongoURI = secretFile(t, d.uri)
	cfg.Persistence.MongoDatabase = "drill_" + strings.ToLower(rand.Text())
	if !d.genuine {
		cfg.Persistence.LedgerTTL, cfg.Persistence.DeadLetterTTL, cfg.Persistence.IngestionTTL = 0, 0, 0
		cfg.Process.BatchSize = 10
		cfg.Persistence.MongoTimeout = 20 * time.Second
	}
}

func startDatabase(t *testing.T) *database {
	t.Helper()
	uri := os.Getenv("MONGO_URI")
	genuine := uri != ""
	if !genuine {
		var err error
		if uri, err = ferretDB(); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	d := &database{backend: u.Host, genuine: genuine, conns: map[net.Conn]bool{}}
	d.connect(t)
	t.Cleanup(d.cut)
	// Streamed monitoring answers more than once, which the proxy does not follow;
	// and it is the proxy that is to be talked to, whatever the server's name is.
	q := u.Query()
	q.Set("serverMonitoringMode", "poll")
	q.Set("heartbeatFrequencyMS", "500")
	q.Set("directConnection", "true")
	u.Host, u.RawQuery = d.address, q.Encode()
	d.uri = u.String()
	return d
}

// ferretDB starts an embedded FerretDB and returns its address. There is one for
// all tests, as long as they run, because making a second one is a data race in
// it; each test has a database of its own.
var ferretDB = sync.OnceValues(func() (uri string, err error) {
	dir, err := os.MkdirTemp("", "ferretdb")
	if err != nil {
		return "", err
	}
	f, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: "127.0.0.1:0"}, Handler: "sqlite",
		SQLiteURL: "file:" + dir + "/?_pragma=synchronous(off)", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return "", err
	}
	go func() { _ = f.Run(context.Background()) }()
	temporary = append(temporary, dir)
	return f.MongoDBURI(), nil
})

// temporary are the directories that outlive a test; TestMain removes them.
var temporary []string

// connect lets connections in, again.
func (d *database) connect(t *testing.T) {
	t.Helper()
	address := d.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if d.secured != nil {
		ln = tls.NewListener(ln, d.secured)
	}
	d.mu.Lock()
	d.ln, d.address = ln, ln.Addr().String()
	d.mu.Unlock()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go d.proxy(c)
		}
	}()
}

// secure has the database speak TLS from now on.
func (d *database) secure(t *testing.T, c certificate) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		t.Fatal(err)
	}
	d.cut()
	d.secured = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	d.connect(t)
	d.uri += "&tls=true&tlsCAFile=" + url.QueryEscape(c.cert)
}

// cut closes every connection and refuses new ones, as a stopped server does.
func (d *database) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ln != nil {
		_ = d.ln.Close()
		d.ln = nil
	}
	for c := range d.conns {
		_ = c.Close()
	}
}

// hang lets every command wait until the returned function is called, as a
// server that is paused does.
func (d *database) hang() (goOn func()) {
	d.turn.Lock()
	return d.turn.Unlock
}

// proxy passes commands and answers to and fro until either side closes.
func (d *database) proxy(front net.Conn) {
	back, err := net.Dial("tcp", d.backend)
	if err != nil {
		_ = front.Close()
		return
	}
	d.mu.Lock()
	d.conns[front] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.conns, front)
		d.mu.Unlock()
		_ = errors.Join(front.Close(), back.Close())
	}()
	for {
		command, err := readMessage(front)
		if err != nil {
			return
		}
		answer := d.fails(command)
		if answer == nil {
			answer, err = d.exchange(back, command)
		}
		if err != nil {
			return
		}
		if _, err := front.Write(answer); err != nil {
			return
		}
	}
}

// fails returns the answer to a command that is to fail, nil for one that is not.
func (d *database) fails(message []byte) []byte {
	fault := d.fault.Load()
	const opMsg, header = 2013, 16
	if fault == nil || len(message) < header+5 || binary.LittleEndian.Uint32(message[12:]) != opMsg {
		return nil
	}
	number := (*fault)(commandName(message[header+4:]))
	if number == 0 {
		return nil
	}
	d.faults.Add(1)
	document := binary.LittleEndian.AppendUint32(nil, 0)
	document = append(document, "\x01ok\x00"+"\x00\x00\x00\x00\x00\x00\x00\x00"...) // 0.0
	document = append(document, "\x10code\x00"...)
	document = binary.LittleEndian.AppendUint32(document, uint32(number))
	document = append(document, "\x02errmsg\x00"+"\x05\x00\x00\x00"+"fail\x00"+"\x00"...)
	binary.LittleEndian.PutUint32(document, uint32(len(document)))
	answer := binary.LittleEndian.AppendUint32(nil, uint32(header+5+len(document)))
	answer = binary.LittleEndian.AppendUint32(answer, 0)
	answer = append(answer, message[4:8]...) // the request that it answers
	answer = binary.LittleEndian.AppendUint32(answer, opMsg)
	return append(append(answer, 0, 0, 0, 0, 0), document...) // flags, and the kind of the section
}

// commandName returns the name of the command in the sections of a message: that of the
// first member of the document among them, which are otherwise lists of documents.
func commandName(sections []byte) string {
	for len(sections) > 6 {
		if sections[0] == 0 { // then the document's length and its first member's type
			name, _, _ := bytes.Cut(sections[6:], []byte{0})
			return string(name)
		}
		size := 1 + binary.LittleEndian.Uint32(sections[1:])
		sections = sections[min(int(size), len(sections)):]
	}
	return ""
}

// exchange sends a command and returns its answer. On FerretDB it lets one command
// through at a time, over all connections, because its updates are not atomic, as
// MongoDB's are.
func (d *database) exchange(back net.Conn, command []byte) ([]byte, error) {
	d.turn.RLock()
	defer d.turn.RUnlock()
	if !d.genuine {
		d.one.Lock()
		defer d.one.Unlock()
	}
	if _, err := back.Write(command); err != nil {
		return nil, err
	}
	return readMessage(back)
}

// readMessage reads one message of MongoDB's wire protocol: its length in four
// bytes, little-endian, counts itself.
func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size < 16 || size > 64<<20 {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	message := make([]byte, size)
	copy(message, head[:])
	_, err := io.ReadFull(r, message[4:])
	return message, err
}

// server is a real server in a process of its own.
type server struct {
	t    *testing.T
	argv []string
	addr string
	cmd  *exec.Cmd
}

// startRedis starts a redis-server, or skips the test where there is none. It speaks
// TLS with a certificate.
func startRedis(t *testing.T, secured ...certificate) *server {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed, and CI must not go without")
		}
		t.Skip("redis-server is not installed; install it to run this test")
	}
	port := freePort(t)
	argv := []string{binary, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}
	for _, c := range secured {
		argv = append(argv, "--port", "0", "--tls-port", fmt.Sprint(port), "--tls-auth-clients", "no",
			"--tls-cert-file", c.cert, "--tls-key-file", c.key, "--tls-ca-cert-file", c.cert)
	}
	return startServer(t, port, argv...)
}

// natsBinary builds the nats-server of our go.mod once for all tests.
var natsBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nats-server")
	if err != nil {
		return "", err
	}
	temporary = append(temporary, dir)
	bin := filepath.Join(dir, "nats-server")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build nats-server: %w: %s", err, out)
	}
	return bin, nil
})

// startNATS starts a nats-server with JetStream, and more arguments.
func startNATS(t *testing.T, more ...string) *server {
	t.Helper()
	bin, err := natsBinary()
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	return startServer(t, port, append([]string{bin, "-a", "127.0.0.1", "-p", fmt.Sprint(port), "-js", "-sd", t.TempDir()}, more...)...)
}

func startServer(t *testing.T, port int, argv ...string) *server {
	t.Helper()
	s := &server{t: t, argv: argv, addr: fmt.Sprintf("127.0.0.1:%d", port)}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// start starts the process and waits until it listens.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.argv[0], s.argv[1:]...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, s.argv[0]+" to listen", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// kill ends the process at once; nothing happens when it has ended.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// pause stops the process without closing its connections.
func (s *server) pause() (goOn func()) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	return func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }
}

// freePort returns a free port.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
