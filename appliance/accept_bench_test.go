//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// BenchmarkAccept is the whole way of a request to its 202, over real connections
// that each wait for their answer: signature, event, queue, flush. Requests are
// signed before the clock runs. The client shares the processors, so compare runs
// with each other; profile with -cpuprofile. Without workers (which the embedded
// broker is not run without) it shows the intake alone, with them both at once.
func BenchmarkAccept(b *testing.B) {
	for _, c := range []struct{ sync, role string }{
		{"group", config.RoleIngest}, {"interval", config.RoleIngest}, {"group", config.RoleAll}, {"interval", config.RoleAll}, {"always", config.RoleAll},
	} {
		for _, conns := range []int{10, 100} {
			b.Run(fmt.Sprintf("%s/role=%s/connections=%d", c.sync, c.role, conns), func(b *testing.B) {
				a := startBench(b, c.sync, c.role)
				requests := a.requests(b.N, "bench")
				b.ReportAllocs()
				b.ResetTimer()
				before := cpuTime(b)
				a.send(conns, requests)
				b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
				if n := a.figure("flush_seconds_count"); n > 0 {
					b.ReportMetric(a.figure("flushed_events_total")/n, "events/flush")
					b.ReportMetric(1e6*a.figure("flush_seconds_sum")/n, "µs/flush")
				}
			})
		}
	}
}

// benchApp is an appliance under a benchmark.
type benchApp struct {
	b      *testing.B
	addr   string
	admin  string
	scheme *signature.Scheme
}

func startBench(b *testing.B, sync, role string) *benchApp {
	b.Helper()
	cfg := config.Defaults()
	cfg.DataDir, cfg.Role, cfg.JetStream.Sync = b.TempDir(), role, sync
	cfg.Ingest.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.JetStream.DiskReserveBytes = 0
	b.Cleanup(tuneRuntime(cfg.JetStream))
	app, err := app.Start(b.Context(), cfg, app.Deps{Log: slog.New(slog.DiscardHandler), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cfg.ShutdownTimeout)
		defer cancel()
		if err := app.Stop(ctx); err != nil {
			b.Error(err)
		}
	})
	schemes, err := cfg.WithDemo().Schemes(jwks.At)
	if err != nil {
		b.Fatal(err)
	}
	return &benchApp{b: b, addr: app.Public().String(), admin: app.Admin().String(), scheme: schemes[config.DemoCourier]}
}

// requests returns n signed requests for events of some 330 bytes, ready to be
// written.
func (a *benchApp) requests(n int, tag string) [][]byte {
	all := make([][]byte, n)
	now := time.Now()
	for i := range all {
		all[i] = signedRequest(a.scheme, tag+"-"+strconv.Itoa(i), i/4, now)
	}
	return all
}

// signedRequest returns a request for an event of some 330 bytes as it is sent.
func signedRequest(scheme *signature.Scheme, key string, shipment int, at time.Time) []byte {
	body := fmt.Appendf(nil, `{"eventId":"evt_%s","eventType":"shipment.status.updated","occurredAt":%q,"source":"bench",`+
		`"idempotencyKey":%q,"payload":{"shipmentId":"shp-%d","status":"in_transit","note":"%0110d"}}`,
		key, at.UTC().Format(time.RFC3339Nano), key, shipment, 0)
	r := fmt.Appendf(nil, "POST /v1/events/courier HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	for _, h := range scheme.Sign(body, at) {
		r = fmt.Appendf(r, "%s: %s\r\n", h.Name, h.Value)
	}
	return append(append(r, "\r\n"...), body...)
}

// send sends every request over one of the connections and expects a 202.
func (a *benchApp) send(conns int, requests [][]byte) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			c, err := net.Dial("tcp", a.addr)
			if err != nil {
				a.b.Error(err)
				return
			}
			defer c.Close()
			in := bufio.NewReader(c)
			for i := next.Add(1) - 1; i < int64(len(requests)); i = next.Add(1) - 1 {
				if _, err := exchange(c, in, requests[i]); err != nil {
					a.b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// exchange writes a request and returns the body of the answer, which must be a
// 202.
func exchange(c net.Conn, in *bufio.Reader, request []byte) (string, error) {
	if _, err := c.Write(request); err != nil {
		return "", err
	}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 202")) {
		return "", fmt.Errorf("answered %q", line)
	}
	length := 0
	for len(line) > len("\r\n") {
		if line, err = in.ReadSlice('\n'); err != nil {
			return "", err
		}
		if name, value, found := bytes.Cut(line, []byte(": ")); found && bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return "", err
			}
		}
	}
	body, err := in.Peek(length)
	if err != nil {
		return "", err
	}
	answer := string(body)
	_, err = in.Discard(length)
	return answer, err
}

// figure returns one of the queue's metrics.
func (a *benchApp) figure(name string) float64 {
	a.b.Helper()
	return metric(a.b, fetch(a.b, "http://"+a.admin+"/metrics"), "courier_gateway_jetstream_"+name)
}

// cpuTime is what this process has used of all processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
