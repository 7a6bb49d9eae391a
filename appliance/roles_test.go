package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// fleet is a set of services that share a broker, a database and their secrets.
type fleet struct {
	t      *testing.T
	dir    string // of the secrets
	env    []string
	scheme *signature.Scheme
}

// newFleet is one whose services keep what they know in their own directories, as
// long as shareDatabase is not called.
func newFleet(t *testing.T, nats *server) *fleet {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"stamp", "next-stamp", "demo"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a shared secret of the "+name+"s\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config.Defaults()
	cfg.Couriers = map[string]config.Courier{config.DemoCourier: config.Courier{Secrets: []config.CourierSecret{{Secret: config.Secret("file:" + filepath.Join(dir, "demo"))}}}.WithDefaults()}
	schemes, err := cfg.Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir, scheme: schemes[config.DemoCourier]}
	f.env = []string{
		"APPLIANCE_JETSTREAM__MODE=external", "APPLIANCE_JETSTREAM__URLS=nats://" + nats.addr,
		f.stampKeys("stamp"),
		"APPLIANCE_JETSTREAM__PUBLISH_TIMEOUT=2s",
		"APPLIANCE_COURIERS__DEMO__SECRETS=file:" + filepath.Join(dir, "demo"),
	}
	return f
}

func (f *fleet) shareDatabase() {
	f.t.Helper()
	cfg := config.Defaults()
	startDatabase(f.t).use(f.t, &cfg)
	f.env = append(f.env,
		"APPLIANCE_PERSISTENCE__MONGO_URI="+string(cfg.Persistence.MongoURI),
		"APPLIANCE_PERSISTENCE__MONGO_DATABASE="+cfg.Persistence.MongoDatabase,
		"APPLIANCE_PERSISTENCE__LEDGER_TTL="+cfg.Persistence.LedgerTTL.String(),
		"APPLIANCE_PERSISTENCE__DEAD_LETTER_TTL="+cfg.Persistence.DeadLetterTTL.String(),
		"APPLIANCE_PERSISTENCE__INGESTION_TTL="+cfg.Persistence.IngestionTTL.String(),
		"APPLIANCE_PERSISTENCE__MONGO_TIMEOUT="+cfg.Persistence.MongoTimeout.String(),
		fmt.Sprint("APPLIANCE_PROCESS__BATCH_SIZE=", cfg.Process.BatchSize),
	)
}

// start starts a service of the fleet on a data directory, with more environment.
func (f *fleet) start(role, dir string, environment ...string) *child {
	f.t.Helper()
	return spawn(f.t, dir, slices.Concat([]string{"APPLIANCE_ROLE=" + role}, f.env, environment)...)
}

// stampKeys is the environment that has a service use these secrets as stamp keys.
func (f *fleet) stampKeys(names ...string) string {
	for i, name := range names {
		names[i] = "file:" + filepath.Join(f.dir, name)
	}
	return "APPLIANCE_JETSTREAM__STAMP_KEYS=" + strings.Join(names, ",")
}

func TestServicesOfEachRoleAreKilledUnderLoad(t *testing.T) {
	f := newFleet(t, startNATS(t))
	f.shareDatabase()
	ingest := []*child{f.start(config.RoleIngest, t.TempDir()), f.start(config.RoleIngest, t.TempDir())}
	workers := []*child{f.start(config.RoleProcess, t.TempDir()), f.start(config.RoleProcess, t.TempDir())}
	var loads []*traffic
	for i, c := range ingest {
		loads = append(loads, startLoad(c, f.scheme, fmt.Sprintf("fleet-%d", i), 20*time.Millisecond))
	}
	eventually(t, "both intakes to acknowledge", func() bool { return loads[0].count.Load() > 20 && loads[1].count.Load() > 20 })
	for _, c := range []*child{ingest[0], workers[0]} {
		if err := c.signalled(syscall.SIGKILL); err == nil {
			t.Fatal("the process survived kill -9")
		}
	}
	before := loads[1].count.Load()
	eventually(t, "the other intake to go on", func() bool { return loads[1].count.Load() > before+20 })
	var acked []string
	for _, l := range loads {
		l.stop()
		acked = append(acked, l.acked...)
	}
	if len(loads[1].broken) > 0 {
		t.Errorf("the intake that was not killed failed requests, such as %s", loads[1].broken[0])
	}
	workers[1].checksAll(acked)
	ingest[1].ends()
	workers[1].ends()
}

// TestStampKeyIsRotatedServiceByService follows the runbook: in each of its passes the
// second service is restarted only after it has worked with what the first does by
// then, and no pass begins before the one before it is over.
func TestStampKeyIsRotatedServiceByService(t *testing.T) {
	f := newFleet(t, startNATS(t))
	intakeDir, workerDir := t.TempDir(), t.TempDir()
	intake, worker := f.start(config.RoleIngest, intakeDir), f.start(config.RoleProcess, workerDir)
	post := func(tag string) *traffic { return startLoad(intake, f.scheme, tag, 50*time.Millisecond) }
	load, acked := post("before"), []string(nil)
	restartIntake := func(keys string) {
		load.stop() // its address changes; what it posted is still being processed
		acked = append(acked, load.acked...)
		intake.ends()
		intake = f.start(config.RoleIngest, intakeDir, keys)
		load = post(fmt.Sprint("after-", len(acked)))
	}
	restartWorker := func(keys string) {
		worker.ends()
		worker = f.start(config.RoleProcess, workerDir, keys)
	}
	for pass, names := range [][]string{{"stamp", "next-stamp"}, {"next-stamp", "stamp"}, {"next-stamp"}} {
		worker.hasProcessed(load)
		first, second := restartIntake, restartWorker
		if pass == 2 {
			first, second = second, first // any order will do
			worker.hasVerifiedAll()       // the last event that the old key signed has to be out of the queue
		}
		keys := f.stampKeys(names...)
		first(keys)
		worker.hasProcessed(load)
		second(keys)
	}
	worker.hasProcessed(load)
	load.stop()
	worker.checksAll(append(acked, load.acked...))
	var letters struct {
		DeadLetters []event.DeadLetter `json:"deadLetters"`
	}
	if worker.get("/api/v1/dead-letters", &letters); len(letters.DeadLetters) > 0 {
		t.Errorf("%d events became dead letters, such as %s", len(letters.DeadLetters), asJSON(letters.DeadLetters[0]))
	}
}

// hasProcessed waits until a load has had more acknowledged than when it was called,
// and until what came since is processed.
func (c *child) hasProcessed(l *traffic) {
	c.t.Helper()
	before := l.count.Load()
	eventually(c.t, "some events to be acknowledged", func() bool { return l.count.Load() > before+8 })
	l.mu.Lock()
	keys := slices.Clone(l.acked[before:])
	l.mu.Unlock()
	for _, key := range keys {
		eventually(c.t, key+" to be processed", func() bool { return c.processed(key) })
	}
}

// hasVerifiedAll waits until all that is in the queue now is settled and verified.
func (c *child) hasVerifiedAll() {
	c.t.Helper()
	_, now := c.counts()
	eventually(c.t, "all until now to be verified", func() bool {
		_, q := c.counts()
		return q.Verified >= now.LastSeq
	})
}

// ends stops a service.
func (c *child) ends() {
	c.t.Helper()
	if err := c.signalled(syscall.SIGTERM); err != nil {
		c.t.Errorf("a service ended with %v\n%s", err, c.log)
	}
}

// TestBrokerThatHangsIsNoticed pauses the broker, whose connections stay open.
func TestBrokerThatHangsIsNoticed(t *testing.T) {
	nats := startNATS(t)
	cfg := quick(t)
	cfg.JetStream.Mode, cfg.JetStream.URLs = config.ModeExternal, []string{"nats://" + nats.addr}
	cfg.JetStream.StampKeys = []config.Secret{secretFile(t, "a stamp key of enough bytes")}
	a := startApp(t, cfg, nil)
	ready := func() int {
		answer, err := client.Get("http://" + a.Admin().String() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if ready() != http.StatusOK {
		t.Error("it is not ready")
	}
	goOn := nats.pause()
	defer goOn()
	began := time.Now()
	eventually(t, "the readiness to be 503", func() bool { return ready() == http.StatusServiceUnavailable })
	if took := time.Since(began); took > 4*time.Second { // two, and as much for a busy machine
		t.Errorf("the readiness was 503 after %v", took)
	}
	began = time.Now()
	got, err := a.post(eventBody("during", "shp", "in_transit", time.Now()))
	if took := time.Since(began); err != nil || got.Status != http.StatusServiceUnavailable || got.RetryAfter == "" || took > time.Second {
		t.Errorf("answer while the broker hangs: %+v, %v, after %v", got, err, took)
	}
	goOn()
	eventually(t, "the readiness without a single event", func() bool { return ready() == http.StatusOK })
	a.accept(eventBody("after", "shp", "in_transit", time.Now()))
}

func TestBrokerOutageIsRefusedAtOnce(t *testing.T) {
	nats := startNATS(t)
	cfg := quick(t)
	cfg.JetStream.Mode, cfg.JetStream.URLs = config.ModeExternal, []string{"nats://" + nats.addr}
	cfg.JetStream.StampKeys = []config.Secret{secretFile(t, "a stamp key of enough bytes")}
	cfg.Ingest.RetryAfter = 7 * time.Second
	a := startApp(t, cfg, nil)
	a.accept(eventBody("before", "shp", "in_transit", time.Now()))
	if h := a.health(); h["status"] != "healthy" || h["jetstream"] != "connected" {
		t.Errorf("health is %v", h)
	}
	nats.kill()
	eventually(t, "intake to refuse", func() bool {
		got, err := a.post(eventBody("during", "shp", "in_transit", time.Now()))
		return err == nil && got.Status == http.StatusServiceUnavailable
	})
	for range 5 {
		began := time.Now()
		got, err := a.post(eventBody("during", "shp", "in_transit", time.Now()))
		if err != nil || got.Status != http.StatusServiceUnavailable || got.ErrorCode != string(event.IntakeUnavailable) || got.RetryAfter != "7" {
			t.Errorf("answer without a broker: %+v, %v", got, err)
		}
		// It takes less than a millisecond; the rest is for a busy machine.
		if took := time.Since(began); took > cfg.JetStream.PublishTimeout/20 {
			t.Errorf("the refusal took %v, so it waited for something", took)
		}
	}
	nats.start()
	eventually(t, "intake to accept again", func() bool {
		got, err := a.post(eventBody("after", "shp", "in_transit", time.Now()))
		return err == nil && got.Status == http.StatusAccepted
	})
	a.ends("before", event.Processed)
	a.ends("after", event.Processed)
}
