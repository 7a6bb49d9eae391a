package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/certificate"
	"github.com/fincart/courier-gateway/ops"
)

// openListeners finds out, before anything is made, whether the addresses can be listened
// on. The operators' listener stays open and says that the appliance starts; the couriers'
// one is only tried, because connections to it would wait without an answer.
func openListeners(ctx context.Context, cfg config.Config, log *slog.Logger) (*starting, error) {
	s := &starting{ended: make(chan struct{})}
	if cfg.Admin.TLSCertFile != "" {
		files, err := certificate.Open(cfg.Admin.TLSCertFile, cfg.Admin.TLSKeyFile, time.Now, log.Warn)
		if err != nil {
			return nil, fmt.Errorf("admin.tls_cert_file: %w", err)
		}
		s.secure = files.Config()
	}
	listener, err := listen(ctx, "the operators' listener (admin.listen)", cfg.Admin.Listen)
	if err != nil {
		return nil, err
	}
	s.listener = listener
	if _, port, _ := net.SplitHostPort(cfg.Ingest.Listen); cfg.Role != config.RoleProcess && port != "0" {
		public, err := listen(ctx, "the couriers' listener (ingest.listen)", cfg.Ingest.Listen)
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		if err := public.Close(); err != nil {
			return nil, errors.Join(err, listener.Close())
		}
	}
	s.server = &http.Server{Handler: http.HandlerFunc(s.answer), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	go func() {
		defer close(s.ended)
		_ = s.server.Serve(s.secured(borrowed{listener}))
	}()
	return s, nil
}

func listen(ctx context.Context, what, address string) (*net.TCPListener, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("open %s: %w: another process listens there, stop it or change the address", what, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", what, err)
	}
	return listener.(*net.TCPListener), nil
}

// starting answers on the operators' listener from the first moment of a start until the
// admin server does: alive, not ready, and why.
type starting struct {
	listener *net.TCPListener
	secure   *tls.Config // nil for plain HTTP
	server   *http.Server
	ended    chan struct{} // the server is
	waiting  atomic.Pointer[string]
}

// borrowed is a listener whose Close ends its use here, and leaves it open for another server.
type borrowed struct{ *net.TCPListener }

// Close ends the Accept that waits.
func (b borrowed) Close() error { return b.SetDeadline(time.Unix(1, 0)) }

// secured is a listener with TLS, if there is any.
func (s *starting) secured(l net.Listener) net.Listener {
	if s.secure == nil {
		return l
	}
	return tls.NewListener(l, s.secure)
}

// waitFor says what the start waits for.
func (s *starting) waitFor(problem error) {
	text := problem.Error()
	s.waiting.Store(&text)
}

// handOver stops answering, and returns the listener for another server.
func (s *starting) handOver() (net.Listener, error) {
	const lastAnswers = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // connections without a request
	}
	<-s.ended
	return s.secured(s.listener), s.listener.SetDeadline(time.Time{})
}

// close ends all of it, also after it was handed over.
func (s *starting) close(context.Context) error {
	_ = s.server.Close()
	<-s.ended
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// answer answers every request with what can be said already.
func (s *starting) answer(w http.ResponseWriter, r *http.Request) {
	why := "starting"
	if waiting := s.waiting.Load(); waiting != nil {
		why += ", waiting: " + *waiting
	}
	status, contentType := http.StatusServiceUnavailable, "application/json"
	var document any
	switch r.URL.Path {
	case "/livez":
		status, document = http.StatusOK, map[string]string{"status": "alive"}
	case "/health":
		document = HealthReport{Status: "unhealthy", JetStream: "disconnected", Problems: []string{why}, Timestamp: time.Now().UTC()}
	default:
		p := ops.Refuse(ops.NotReady, "%s", why)
		p.Type, p.Title, p.Message = "urn:courier-gateway:problem:not-ready", http.StatusText(p.Status), p.Detail
		contentType, document = "application/problem+json", p
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Connection", "close")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document) // a failure is the caller's, who has hung up
}
