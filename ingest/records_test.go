package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// book is a Recorder that keeps what it is given.
type book struct {
	mu     sync.Mutex
	kept   []ingestion.Record
	err    error         // what PutIngestions fails with
	held   chan struct{} // when not nil, PutIngestions waits for it to be closed, whatever its context says
	inside chan struct{} // when not nil, gets a value for each PutIngestions that began
	calls  int
	last   []ingestion.Record // of those that were not kept
}

func (b *book) PutIngestions(_ context.Context, records []ingestion.Record) error {
	if b.inside != nil {
		b.inside <- struct{}{}
	}
	if b.held != nil {
		<-b.held
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.err != nil {
		b.last = records
		return b.err
	}
	b.kept = append(b.kept, records...)
	return nil
}

func (b *book) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// refused returns the last records that were not kept.
func (b *book) refused() []ingestion.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// all returns what is kept, and how often it was called.
func (b *book) all() (kept []ingestion.Record, calls int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]ingestion.Record(nil), b.kept...), b.calls
}

// singles returns the records of single requests.
func (b *book) singles() (out []ingestion.Record) {
	kept, _ := b.all()
	for _, r := range kept {
		if r.Request != nil {
			out = append(out, r)
		}
	}
	return out
}

// counts returns how many requests were recorded, by "courier outcome code reason".
func (b *book) counts() map[string]int64 {
	kept, _ := b.all()
	out := map[string]int64{}
	for _, r := range kept {
		out[strings.Join(strings.Fields(fmt.Sprint(r.Courier, " ", r.Outcome, " ", r.Code, " ", r.Reason)), " ")] += r.Count
	}
	return out
}

// flood handles the same request n times, without a network.
func (f *fixture) flood(t testing.TB, n int, step time.Duration, status int, raw string) {
	t.Helper()
	var ctx fasthttp.RequestCtx
	f.process(&ctx, []byte(raw))
	for range n - 1 {
		f.clock.advance(step)
		ctx.Response.Reset()
		f.handle(&ctx)
	}
	if ctx.Response.StatusCode() != status {
		t.Fatalf("answered %s", ctx.Response.String())
	}
}

// badly returns a request that is signed wrongly.
func (f *fixture) badly(courier string) string {
	return strings.Replace(f.raw(f.demo, "/v1/events/courier/"+courier, goodBody), "shp_456", "shp_457", 1)
}

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// TestFloodIsBounded floods the intake with bad requests at once, of a courier of
// ours and of none. It runs alone, because it measures memory.
func TestFloodIsBounded(t *testing.T) {
	const each = 50_000
	f := prepare(t, nil)
	f.flood(t, 1, 0, 401, f.badly("demo")) // everything is there that is made once
	f.flood(t, 1, 0, 404, f.badly("unknown"))
	before := heap()
	f.flood(t, each-1, 0, 401, f.badly("demo"))
	f.flood(t, each-1, 0, 404, f.badly("unknown"))
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("%d bytes more are in use", grown)
	}
	f.records.start(f.hard)
	book := f.recorded(t)
	if n := len(book.kept); n > 2*f.config.Records.Burst+2 {
		t.Errorf("%d records for %d requests", n, 2*each)
	}
	if got, want := book.counts(), map[string]int64{"demo refused INVALID_SIGNATURE mismatch": each, "refused UNKNOWN_COURIER": each}; !maps.Equal(got, want) {
		t.Errorf("recorded are %v, want %v", got, want)
	}
	if n := len(book.singles()); n < f.config.Records.Burst/2 || n > 2*f.config.Records.Burst*4/5 {
		t.Errorf("%d records of single requests of bursts of %d, which leave some for others", n, f.config.Records.Burst)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestStoreThatHangsStopsNothing floods the intake for a long time while the store
// does not return.
func TestStoreThatHangsStopsNothing(t *testing.T) {
	t.Parallel()
	f := prepare(t, func(c *Config) { c.Records.Every = time.Millisecond })
	f.book.held, f.book.inside = make(chan struct{}), make(chan struct{}, 100)
	f.records.start(f.hard)
	const n = 10_000
	f.flood(t, 1, 0, 401, f.badly("demo"))
	<-f.book.inside // and there it stays
	f.flood(t, n-1, 100*time.Millisecond, 401, f.badly("demo"))
	if got, _ := f.metric(t, "records_dropped_total reason=queue_full"); got != n-float64(f.config.Records.Queue/2) {
		t.Errorf("%v records dropped", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not recorded") {
		t.Errorf("stopping says %v", err)
	}
	close(f.book.held)
	book := f.recorded(t)
	if got := book.counts(); total(got) != n || len(book.singles()) != f.config.Records.Queue/2 {
		t.Errorf("recorded are %v, %d of them singly", got, len(book.singles()))
	}
}

// TestStoreThatFails shows that aggregates are tried until they are stored, with the
// same ids, and that single records are counted in them in the end.
func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := prepare(t, nil)
		f.records.start(f.hard)
		every, aggregateEvery := f.config.Records.Every, f.config.Records.AggregateEvery
		f.book.fail(errors.New("the disk is full"))
		f.flood(t, 60, 0, 401, f.badly("demo")) // some singly, others in an aggregate
		singly := float64(len(f.caught.all()))
		for try := range 3 {
			if got, _ := f.metric(t, "records_dropped_total reason=not_stored"); got != 0 {
				t.Errorf("%v records dropped after %d tries", got, try)
			}
			time.Sleep(every)
			synctest.Wait()
		}
		if got, _ := f.metric(t, "records_dropped_total reason=not_stored"); got != singly || singly < 10 {
			t.Errorf("%v records dropped, want %v", got, singly)
		}
		time.Sleep(aggregateEvery)
		synctest.Wait()
		f.flood(t, 5, 0, 401, f.badly("demo"))
		taken := f.book.refused()
		if len(taken) != 1 || taken[0].Count != 60 {
			t.Fatalf("taken are %+v", taken)
		}
		f.book.fail(nil)
		time.Sleep(every)
		synctest.Wait()
		if kept, _ := f.book.all(); len(kept) != 1 || kept[0].ID != taken[0].ID || kept[0].Count != 60 {
			t.Errorf("kept are %+v", kept)
		}
		if n := strings.Count(f.log.String(), "the disk is full"); n != 1 {
			t.Errorf("the log has it %d times", n)
		}
		if got := f.recorded(t).counts()["demo refused INVALID_SIGNATURE mismatch"]; got != 65 {
			t.Errorf("%d requests recorded, want 65", got)
		}
	})
}

func TestRecordsAreWrittenInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := prepare(t, nil)
		f.records.start(f.hard)
		f.flood(t, 3, time.Second, 202, f.raw(f.demo, "/v1/events/courier/demo", goodBody))
		f.flood(t, 2, time.Second, 401, f.badly("demo"))
		time.Sleep(f.config.Records.Every)
		synctest.Wait()
		if kept, _ := f.book.all(); len(kept) != 2 || kept[0].Request == nil || kept[1].Request == nil {
			t.Errorf("soon there are the records %+v", kept)
		}
		time.Sleep(f.config.Records.AggregateEvery)
		synctest.Wait()
		kept, calls := f.book.all()
		want := map[string]int64{"demo accepted": 1, "demo duplicate": 2, "demo refused INVALID_SIGNATURE mismatch": 2}
		if got := f.book.counts(); !maps.Equal(got, want) {
			t.Errorf("recorded are %v, want %v", got, want)
		}
		for _, r := range kept {
			if r.Outcome != ingestion.Duplicate {
				continue
			}
			if !r.At.Equal(noon.Add(time.Second)) || !r.Until.Equal(noon.Add(2*time.Second)) || r.Bytes != int64(2*len(goodBody)) || r.Request != nil || r.Status != 0 {
				t.Errorf("the aggregate is %+v", r)
			}
			if millis, _, _ := strings.Cut(r.ID, "-"); millis != fmt.Sprintf("%012x", r.At.UnixMilli()) {
				t.Errorf("its id is %s", r.ID)
			}
		}
		time.Sleep(time.Hour) // nothing happens, so nothing is written
		synctest.Wait()
		if _, now := f.book.all(); now != calls {
			t.Errorf("%d calls without anything to write", now-calls)
		}
		f.flood(t, 1, 0, 202, f.raw(f.demo, "/v1/events/courier/demo", goodBody))
		if got := f.recorded(t).counts()["demo duplicate"]; got != 3 {
			t.Errorf("%d duplicates recorded after stopping, want 3", got)
		}
		if err := f.Shutdown(t.Context()); err != nil {
			t.Errorf("stopping again says %v", err)
		}
	})
}

// TestWhatIsRecorded sends every kind of request.
func TestWhatIsRecorded(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxBodyBytes, c.MaxConnsPerIP = 1000, 1 })
	f.set(t, Courier{Name: "small", Scheme: f.plain, MaxBodyBytes: 10})
	post := func(path string, change func(*http.Request)) {
		t.Helper()
		r := f.request(f.demo, path, goodBody)
		if change != nil {
			change(r)
		}
		send(t, r)
		waitFor(t, "the connection to end", func() bool { return f.conns.Count() == 0 })
	}
	post("/v1/events/courier", nil)
	post("/v1/events/courier", nil)
	post("/v1/events/courier", func(r *http.Request) { r.Header.Set("X-Signature", "x") })
	post("/v1/events/courier", func(r *http.Request) { r.Header.Set("Content-Type", "text/html") })
	post("/v1/events/courier", func(r *http.Request) { *r = *f.request(f.demo, "/v1/events/courier", "{}") })
	post("/v1/events/courier", func(r *http.Request) { *r = *f.request(f.demo, "/v1/events/courier", bodyWithKey("panic")) })
	post("/v1/events/courier/small", nil)
	post("/v1/events/courier/unknown", nil)
	post("/v1/events/courier", func(r *http.Request) { r.Method = "GET" })
	post("/elsewhere", nil)
	f.publisher.fail(errors.New("full"))
	post("/v1/events/courier", nil)
	c := f.dial(t)
	c.send(t, "nonsense\r\n\r\n")
	c.answer(t)
	c.expectClosed(t)
	waitFor(t, "the connection to end", func() bool { return f.conns.Count() == 0 })
	f.letIn(t, "127.0.0.1")
	f.refused(t, "127.0.0.1", 429, event.RateLimited)
	book := f.recorded(t)
	want := map[string]int64{
		"demo accepted": 1, "demo duplicate": 1, "demo refused INVALID_SIGNATURE malformed": 1, "demo refused UNSUPPORTED_MEDIA_TYPE": 1,
		"demo refused INVALID_PAYLOAD": 1, "demo refused INTERNAL": 1, "small refused PAYLOAD_TOO_LARGE": 1, "refused UNKNOWN_COURIER": 1,
		"demo refused INTAKE_UNAVAILABLE": 1, "refused BAD_REQUEST": 1, "refused RATE_LIMITED": 1, "refused NOT_FOUND": 1,
	}
	if got := book.counts(); !maps.Equal(got, want) {
		t.Errorf("recorded are\n%v, want\n%v", got, want)
	}
	var codes []string
	for _, r := range book.singles() {
		codes = append(codes, string(r.Code))
		if r.Count != 1 || r.Status < 400 || r.TraceID == "" || r.Address != "127.0.0.1" || !r.At.Equal(noon) || !r.Until.Equal(noon) || r.Detail == "" {
			t.Errorf("recorded is %+v", r)
		}
	}
	slices.Sort(codes)
	if got := strings.Join(codes, " "); got != "INVALID_PAYLOAD INVALID_SIGNATURE NOT_FOUND PAYLOAD_TOO_LARGE UNKNOWN_COURIER UNSUPPORTED_MEDIA_TYPE" {
		t.Errorf("singly recorded are %s", got)
	}
}

func TestNothingIsRecordedWithoutAStore(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	d := f.deps
	d.Store, d.Registerer = nil, unregistered{}
	s, err := New(f.config, d)
	if err != nil {
		t.Fatal(err)
	}
	other := &fixture{Server: s, clock: f.clock, demo: f.demo, plain: f.plain}
	other.flood(t, 10, 0, 401, f.badly("demo"))
	other.flood(t, 10, 0, 202, f.raw(f.demo, "/v1/events/courier/demo", goodBody))
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestEveryRequestIsCountedOnce posts from many sides while the aggregates are written.
func TestEveryRequestIsCountedOnce(t *testing.T) {
	t.Parallel()
	f := prepare(t, func(c *Config) { c.Records.Every, c.Records.AggregateEvery = time.Millisecond, time.Millisecond })
	f.records.start(f.hard)
	const each, sides = 1000, 4
	var senders sync.WaitGroup
	for range sides {
		senders.Go(func() { f.flood(t, each, 0, 401, f.badly("demo")) })
		senders.Go(func() { f.flood(t, each, 0, 202, f.raw(f.demo, "/v1/events/courier/demo", goodBody)) })
	}
	senders.Wait()
	book := f.recorded(t)
	var bytes int64
	for _, r := range book.kept {
		bytes += r.Bytes
		if r.At.After(r.Until) {
			t.Errorf("%v is before %v", r.Until, r.At)
		}
	}
	if got := total(book.counts()); got != 2*each*sides || bytes != got*int64(len(goodBody)) {
		t.Errorf("%d requests of %d bytes recorded, want %d", got, bytes, 2*each*sides)
	}
}

// BenchmarkRefusedAndRecorded measures refused requests of which each is recorded.
func BenchmarkRefusedAndRecorded(b *testing.B) {
	f := prepare(b, func(c *Config) { c.Records.PerSecond, c.Records.Burst, c.Records.Queue = 1e12, 1<<40, 1<<40 })
	var ctx fasthttp.RequestCtx
	f.process(&ctx, []byte(f.badly("demo")))
	b.ReportAllocs()
	for b.Loop() {
		ctx.Response.Reset()
		f.handle(&ctx)
		f.caught.take()
	}
}

// TestSlashAtTheEnd: an address with a slash at its end is the same one.
func TestSlashAtTheEnd(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for i, tc := range []struct {
		scheme *signature.Scheme
		path   string
		status int
	}{
		{f.plain, "/v1/events/courier/plain/", 200}, {f.demo, "/v1/events/courier/demo/", 202}, {f.demo, "/v1/events/courier/", 202}, {f.demo, "/v1/events/courier/demo/?x=/", 202},
	} {
		if a := send(t, f.request(tc.scheme, tc.path, bodyWithKey(fmt.Sprint("k", i)))); a.StatusCode != tc.status {
			t.Errorf("%s: got %d %s", tc.path, a.StatusCode, a.body)
		}
	}
}

// TestMistypedAddressIsRecorded: what is posted to no address of the intake has a record
// that says where it was sent, with no secret in it; other requests have none.
func TestMistypedAddressIsRecorded(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	paths := []string{"/v1/event/courier/demo", "/events/courier/demo", "/v1/events/courier/demo//", "/v1/events/couriers/demo", "/", "/V1/events/courier/demo", "/v1/events/courier/unknown"}
	for _, path := range paths {
		if a := send(t, f.request(f.demo, path, goodBody)); a.StatusCode != 404 {
			t.Errorf("%s: got %d %s", path, a.StatusCode, a.body)
		}
		f.ask(t, "GET", path)
	}
	send(t, f.request(f.demo, "/hooks/demo-secret/"+strings.Repeat("x", 300), goodBody))
	records := f.caught.all()
	if len(records) != len(paths)+1 {
		t.Fatalf("%d records, want %d: %+v", len(records), len(paths)+1, records)
	}
	for i, path := range paths {
		if r := records[i]; !strings.HasPrefix(r.Detail, path+": ") || r.Request.Path != path || string(r.Request.Body) != goodBody || r.Courier != "" || r.Status != 404 {
			t.Errorf("%s has the record %+v", path, r)
		}
	}
	if last := records[len(paths)].Detail; strings.Contains(last, "demo-secret") || !strings.Contains(last, "xxx...: events are sent to") {
		t.Errorf("a long address with a secret is recorded as %q", last)
	}
}
