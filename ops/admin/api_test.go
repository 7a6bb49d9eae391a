package admin_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

// read sends a GET, wants 200 and decodes the answer.
func read[T any](t *testing.T, address, path string) (v T) {
	t.Helper()
	resp, body := request{path: path}.send(t, address)
	if resp.status != 200 {
		t.Fatalf("%s: %d %s", path, resp.status, body)
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%s: %v: %s", path, err, body)
	}
	return v
}

func TestProbes(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for _, path := range []string{"/livez", "/readyz", "/health", "/version", "/openapi.json"} {
		read[map[string]any](t, address, path)
	}
	_, want := m.Deps().Health()
	if _, got := (request{path: "/health"}).send(t, address); got != string(want) {
		t.Errorf("/health: %s, want %s", got, want)
	}
	if _, body := (request{path: "/metrics"}).send(t, address); !strings.Contains(body, `courier_gateway_ops_requests_total{route="GET /livez",status="200"} 1`) {
		t.Errorf("/metrics does not count /livez:\n%s", body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/symbol"} {
		if resp, body := (request{path: path}).send(t, address); resp.status != 200 {
			t.Errorf("%s: %d %s", path, resp.status, body)
		}
	}
	if resp, _ := (request{path: "/debug/pprof/cmdline"}).send(t, address); resp.status != 404 {
		t.Errorf("/debug/pprof/cmdline: %d", resp.status)
	}
}

func TestNotReadyAndUnhealthy(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Ready, m.Health = errors.New("draining"), 503
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	if p := (request{path: "/readyz"}).refused(t, address, 503, ops.NotReady); !strings.Contains(p.Detail, "draining") {
		t.Errorf("detail %q", p.Detail)
	}
	if resp, _ := (request{path: "/health"}).send(t, address); resp.status != 503 {
		t.Errorf("/health: %d", resp.status)
	}
	status := read[ops.Status](t, address, "/api/v1/status")
	if status.Ready || status.NotReady != "draining" || status.Health.Status != "unhealthy" {
		t.Errorf("status %+v", status)
	}
}

func TestStatusHasEverything(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	status := read[ops.Status](t, admintest.Start(t, admin.DefaultConfig(), m.Deps()), "/api/v1/status")
	if status.Queue == nil || status.Queue.Unprocessed != 4 || status.Queue.LastSeq != 44 {
		t.Errorf("queue %+v", status.Queue)
	}
	if status.Store == nil || status.Store.Records[event.Processed] != 38 || status.Worker == nil || status.Reconciler == nil {
		t.Errorf("status %+v", status)
	}
	if status.UptimeSeconds <= 0 || status.Version != "1.2.3" || len(status.Listeners) != 1 || status.Health.Parts["mongo"] != "connected" {
		t.Errorf("status %+v", status)
	}
	if _, ok := status.Health.Parts["timestamp"]; ok {
		t.Error("the time is taken for a part")
	}
}

func TestStatusAnswersWhenTheStoresDoNot(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Fault = event.Errorf(event.DependencyDown, "mongo ping", "connection refused")
	status := read[ops.Status](t, admintest.Start(t, admin.DefaultConfig(), m.Deps()), "/api/v1/status")
	if status.Queue != nil || status.Store != nil || len(status.Problems) != 2 || !strings.Contains(status.Problems[1], "connection refused") {
		t.Errorf("status %+v", status)
	}
}

func TestEventByKey(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	keys := []string{"a/b", "a//b", "/a/", "/", "//", "..", "../../livez", ".", "50%", "%2F", "a%2Fb", "ключ:событие", "a b", "a+b", "a?courier=x#y", "日本", "\x00\n", "🙂"}
	for _, key := range keys {
		m.Records = append(m.Records, event.Record{Identity: event.Identity{Courier: "odd", Key: key}, EventID: "of " + key})
	}
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for _, key := range keys {
		got := read[event.Record](t, address, ops.EventsPath+ops.EscapeSegment(key))
		if got.Key != key || got.EventID != "of "+key {
			t.Errorf("%q: got %q", key, got.Key)
		}
	}
	// As a person types it, without escaping slashes.
	if got := read[event.Record](t, address, ops.EventsPath+"a//b"); got.Key != "a//b" {
		t.Errorf("a//b: got %q", got.Key)
	}
	if got := read[event.Record](t, address, ops.EventsPath+"shared?courier=beta"); got.Courier != "beta" {
		t.Errorf("shared of beta: got %q", got.Courier)
	}
	p := request{path: ops.EventsPath + "shared"}.refused(t, address, 409, ops.Ambiguous)
	if !slices.Equal(p.Couriers, []string{"alpha", "beta"}) {
		t.Errorf("couriers %v", p.Couriers)
	}
}

func TestWhatIsNotStoredMayBeQueued(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for pending, want := range map[uint64]string{0: "the queue was empty a moment ago", 1: "1 event waits", 7: "7 events wait"} {
		m.Queue = event.QueueState{Pending: pending}
		for _, path := range []string{ops.EventsPath + "none", ops.ShipmentsPath + "none", ops.EventsPath + "shared?courier=gamma"} {
			if p := (request{path: path}).refused(t, address, 404, event.NotFound); !strings.Contains(p.Detail, want) {
				t.Errorf("%s with %d queued: %q", path, pending, p.Detail)
			}
		}
	}
}

func TestShipment(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Shipments = append(m.Shipments, shipment.Shipment{Ref: shipment.Ref{Courier: "x", ID: "a/b"}})
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	if got := read[shipment.Shipment](t, address, ops.ShipmentsPath+"shp_1"); got.State != shipment.OutForDelivery || len(got.History) != 3 { // what a scan says too is not shown
		t.Errorf("got %+v", got)
	}
	if got := read[shipment.Shipment](t, address, ops.ShipmentsPath+"a/b?courier=x"); got.ID != "a/b" {
		t.Errorf("got %+v", got)
	}
}

func TestStoreErrors(t *testing.T) {
	t.Parallel()
	for code, status := range map[event.Code]int{event.DependencyDown: 503, event.Throttled: 503, event.Timeout: 504, event.VersionConflict: 409} {
		m := admintest.Sample()
		m.Fault = event.Errorf(code, "sqlite read", "why")
		address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
		for _, path := range []string{ops.EventsPath + "k", ops.ShipmentsPath + "s", "/api/v1/dead-letters", "/api/v1/dead-letters/1-abcd"} {
			request{path: path}.refused(t, address, status, code)
		}
	}
}

func TestRoleWithoutStores(t *testing.T) {
	t.Parallel()
	deps := admintest.Sample().Deps()
	deps.Events, deps.Shipments, deps.DeadLetters, deps.Counts, deps.Replayer, deps.Worker, deps.Reconciler = nil, nil, nil, nil, nil, nil, nil
	deps.About.Role = "ingest"
	address := admintest.Start(t, admin.DefaultConfig(), deps)
	for _, q := range []request{
		{path: ops.EventsPath + "k"}, {path: ops.ShipmentsPath + "s"}, {path: "/api/v1/dead-letters"}, {path: "/api/v1/dead-letters/1"},
		{method: "POST", path: "/api/v1/dead-letters/1/replay"}, {method: "POST", path: "/api/v1/dead-letters/1/close"},
	} {
		if p := q.refused(t, address, 503, event.DependencyDown); !strings.Contains(p.Detail, "role ingest") {
			t.Errorf("%s: %q", q.path, p.Detail)
		}
	}
	if status := read[ops.Status](t, address, "/api/v1/status"); status.Store != nil || status.Worker != nil || len(status.Problems) > 0 {
		t.Errorf("status %+v", status)
	}
}

func TestDeadLetterPages(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	first := read[ops.DeadLetterPage](t, address, "/api/v1/dead-letters?limit=2")
	if len(first.DeadLetters) != 2 || first.Next != "2-abcd" {
		t.Fatalf("first page %+v", first)
	}
	second := read[ops.DeadLetterPage](t, address, "/api/v1/dead-letters?limit=2&after="+first.Next)
	if len(second.DeadLetters) != 1 || second.Next != "" || second.DeadLetters[0].ID != "3-abcd" {
		t.Errorf("second page %+v", second)
	}
	if whole := read[ops.DeadLetterPage](t, address, "/api/v1/dead-letters?limit=3"); whole.Next != "" {
		t.Errorf("a page that is exactly full promises another: %+v", whole)
	}
	_, body := request{path: "/api/v1/dead-letters"}.send(t, address)
	if strings.Contains(body, `"body"`) || strings.Contains(body, `"headers"`) || !strings.Contains(body, `"reviewStatus":"pending"`) {
		t.Errorf("rows should have all but body and headers: %s", body)
	}
}

func TestDeadLetterFilters(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	read[ops.DeadLetterPage](t, address, "/api/v1/dead-letters?courier=c&code=FORGED&status=closed&key=k%2F1&limit=7&after=9-x")
	want := event.DeadLetterFilter{Courier: "c", Code: event.Forged, Status: event.ReviewClosed, Key: "k/1", Limit: 8, After: "9-x"}
	if got := m.Filters[0]; got != want {
		t.Errorf("filter %+v, want %+v", got, want)
	}
	for _, query := range []string{"status=open", "limit=0", "limit=501", "limit=-1", "limit=x", "couriers=c", "courier=a&courier=b"} {
		request{path: "/api/v1/dead-letters?" + query}.refused(t, address, 400, event.BadRequest)
	}
}

func TestReplayCloseAndReview(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	post := func(id, verb, body string) request {
		return request{method: "POST", path: "/api/v1/dead-letters/" + id + "/" + verb, body: body, header: map[string]string{"Content-Type": "application/json; charset=utf-8"}}
	}
	if resp, body := post("1-abcd", "replay", "").send(t, address); resp.status != 200 || !strings.Contains(body, `"nonce":"nonce-1-abcd"`) {
		t.Errorf("replay: %d %s", resp.status, body)
	}
	if resp, body := post("1-abcd", "close", `{"note":"known fault"}`).send(t, address); resp.status != 200 || !strings.Contains(body, `"reviewStatus":"closed"`) {
		t.Errorf("close: %d %s", resp.status, body)
	}
	if d := m.Letter(0); d.Note != "known fault" || len(d.Replays) != 1 {
		t.Errorf("letter %+v", d)
	}
	if resp, body := post("2-abcd", "review", "").send(t, address); resp.status != 200 || m.Letter(1).ReviewStatus != event.ReviewReviewed {
		t.Errorf("review: %d %s", resp.status, body)
	}
	for _, verb := range []string{"replay", "close", "review"} {
		if p := post("9-none", verb, "").refused(t, address, 404, event.NotFound); !strings.Contains(p.Detail, `"9-none"`) {
			t.Errorf("%s: %q", verb, p.Detail)
		}
	}
	for _, body := range []string{"[]", "null null", `{"note":1}`, `{"notes":"x"}`, `{"note":"x"}{}`, `{"note":"x"}}`, "x"} {
		post("1-abcd", "close", body).refused(t, address, 400, event.BadRequest)
	}
	request{method: "POST", path: "/api/v1/dead-letters/1-abcd/close", body: `note=x`}.refused(t, address, 415, event.UnsupportedMediaType)

	m.Broken["1-abcd"] = event.Errorf(event.Forged, "replay", "no valid stamp")
	post("1-abcd", "replay", "").refused(t, address, 422, event.Forged)
	m.Broken["1-abcd"] = event.Errorf(event.IntakeUnavailable, "publish", "the queue is full")
	if resp, _ := post("1-abcd", "replay", "").send(t, address); resp.header.Get("Retry-After") == "" {
		t.Error("a full queue's answer has no Retry-After")
	}
}

func TestProfilesMayTakeLongerThanAnAnswer(t *testing.T) {
	t.Parallel()
	cfg := admin.DefaultConfig()
	cfg.WriteTimeout, cfg.RequestTimeout = 700*time.Millisecond, 50*time.Millisecond
	resp, body := request{path: "/debug/pprof/trace?seconds=1"}.send(t, admintest.Start(t, cfg, admintest.Sample().Deps()))
	if resp.status != 200 || !strings.HasPrefix(body, "go 1.") {
		t.Errorf("%d: %.40q", resp.status, body)
	}
}

func TestProfilesAreBounded(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
	for _, seconds := range []string{"61", "1e9", "-1", "NaN", "Inf", "x"} {
		for _, profile := range []string{"profile", "trace", "heap"} {
			request{path: "/debug/pprof/" + profile + "?seconds=" + seconds}.refused(t, address, 400, event.BadRequest)
		}
	}
	long := make(chan int, 1)
	go func() {
		resp, _ := request{path: "/debug/pprof/heap?seconds=1"}.send(t, address)
		for resp.status == 503 { // one of those below was faster
			resp, _ = request{path: "/debug/pprof/heap?seconds=1"}.send(t, address)
		}
		long <- resp.status
	}()
	for refused := false; !refused; {
		select {
		case <-long:
			t.Fatal("two profiles at once: none was refused")
		default:
			resp, _ := request{path: "/debug/pprof/heap"}.send(t, address)
			refused = resp.status == 503 && resp.header.Get("Retry-After") != ""
		}
	}
	if status := <-long; status != 200 {
		t.Errorf("the long profile: %d", status)
	}
}

func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	cfg := admin.DefaultConfig()
	cfg.RequestTimeout = 20 * time.Millisecond
	deps := admintest.Sample().Deps()
	deps.Events = hangingEvents{}
	request{path: ops.EventsPath + "k"}.refused(t, admintest.Start(t, cfg, deps), 504, event.Timeout)
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	deps := admintest.Sample().Deps()
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	deps.Ready = func() error { close(entered); <-release; return nil }
	server, err := admin.New(admin.DefaultConfig(), deps)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, asked := make(chan error, 1), make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	go func() {
		resp, err := http.Get("http://" + ln.Addr().String() + "/readyz")
		if err == nil {
			resp.Body.Close()
		}
		asked <- err
	}()
	<-entered
	if err := server.Shutdown(canceled(t)); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-asked; err == nil {
		t.Error("the request was answered")
	}
}

// TestShutdownDoesNotWaitForSilence: net/http waits five seconds for connections on which
// nothing has come.
func TestShutdownDoesNotWaitForSilence(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{"nothing": "", "half a header": "GET /livez HTTP/1.1\r\nHost: loc"} {
		server, err := admin.New(admin.DefaultConfig(), admintest.Sample().Deps())
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }()
		silent, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		if _, err := silent.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		if resp, err := http.Get("http://" + ln.Addr().String() + "/livez"); err != nil { // accepted after it
			t.Fatal(err)
		} else {
			resp.Body.Close()
		}
		began := time.Now()
		if err := errors.Join(server.Shutdown(t.Context()), <-served); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: the stop took %v", name, took)
		}
	}
}

func TestNewAdminRefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := admin.New(admin.Config{}, admin.Deps{}); err == nil ||
		!strings.Contains(err.Error(), "MaxBodyBytes") || !strings.Contains(err.Error(), "ReadTimeout") || !strings.Contains(err.Error(), "Gatherer") {
		t.Errorf("all faults should be reported at once: %v", err)
	}
}
