package storetest

import (
	"net"
	"sync"
	"testing"
)

// Proxy forwards between a client and a server, so that a test can interrupt the
// network: Down refuses and cuts connections, hung keeps them and lets
// nothing pass.
type Proxy struct {
	t       *testing.T
	backend string
	Addr    string
	running sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	hung     chan struct{} // closed when bytes may pass again, nil while they may
}

// NewProxy returns a proxy that is up.
func NewProxy(t *testing.T, backend string) *Proxy {
	p := &Proxy{t: t, backend: backend, Addr: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	p.Up()
	t.Cleanup(func() {
		p.Resume()
		p.Down()
		p.running.Wait()
	})
	return p
}

// Up listens, at the address of the first time.
func (p *Proxy) Up() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.Addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener, p.Addr = l, l.Addr().String()
	p.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.connect(conn) })
		}
	})
}

// Down cuts every connection and refuses new ones.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener.Close()
	for conn := range p.conns {
		conn.Close()
	}
}

// Hang lets nothing pass until Resume.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung = make(chan struct{})
}

// Resume ends what Hang began.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hung != nil {
		close(p.hung)
		p.hung = nil
	}
}

func (p *Proxy) connect(client net.Conn) {
	server, err := net.Dial("tcp", p.backend)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	p.running.Go(func() { p.copy(server, client) })
	p.copy(client, server)
}

// copy moves bytes until either side ends, then closes both.
func (p *Proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		hung := p.hung
		p.mu.Unlock()
		if hung != nil {
			<-hung
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
