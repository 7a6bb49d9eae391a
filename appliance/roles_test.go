package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// fleet is a set of services that share a broker, a database and their secrets.
type fleet struct {
	t      *testing.T
	env    []string
	scheme *signature.Scheme
}

func newFleet(t *testing.T, nats *server) *fleet {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"stamp", "demo"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a shared secret of the "+name+"s\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := defaults()
	db := startDatabase(t)
	db.use(t, &cfg)
	cfg.Couriers = map[string]Courier{demoCourier: courierDefaults(Courier{Secrets: []CourierSecret{{Secret: Secret("file:" + filepath.Join(dir, "demo"))}}})}
	schemes, err := cfg.schemes(newKeySource)
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{t: t, scheme: schemes[demoCourier], env: []string{
		"APPLIANCE_JETSTREAM__MODE=external", "APPLIANCE_JETSTREAM__URLS=nats://" + nats.addr,
		"APPLIANCE_JETSTREAM__STAMP_KEYS=file:" + filepath.Join(dir, "stamp"),
		"APPLIANCE_JETSTREAM__PUBLISH_TIMEOUT=2s",
		"APPLIANCE_COURIERS__DEMO__SECRETS=file:" + filepath.Join(dir, "demo"),
		"APPLIANCE_PERSISTENCE__MONGO_URI=" + string(cfg.Persistence.MongoURI),
		"APPLIANCE_PERSISTENCE__MONGO_DATABASE=" + cfg.Persistence.MongoDatabase,
		"APPLIANCE_PERSISTENCE__LEDGER_TTL=" + cfg.Persistence.LedgerTTL.String(),
		"APPLIANCE_PERSISTENCE__DEAD_LETTER_TTL=" + cfg.Persistence.DeadLetterTTL.String(),
		"APPLIANCE_PERSISTENCE__INGESTION_TTL=" + cfg.Persistence.IngestionTTL.String(),
		fmt.Sprint("APPLIANCE_PROCESS__BATCH_SIZE=", cfg.Process.BatchSize),
	}}
}

// start starts a service of the fleet.
func (f *fleet) start(role string) *child {
	f.t.Helper()
	return spawn(f.t, f.t.TempDir(), append([]string{"APPLIANCE_ROLE=" + role}, f.env...)...)
}

func TestServicesOfEachRoleAreKilledUnderLoad(t *testing.T) {
	f := newFleet(t, startNATS(t))
	ingest := []*child{f.start(roleIngest), f.start(roleIngest)}
	workers := []*child{f.start(roleProcess), f.start(roleProcess)}
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
	workers[1].provesAll(acked)
	for _, c := range []*child{ingest[1], workers[1]} {
		if err := c.signalled(syscall.SIGTERM); err != nil {
			t.Errorf("a service ended with %v\n%s", err, c.log)
		}
	}
}

func TestBrokerOutageIsRefusedAtOnce(t *testing.T) {
	nats := startNATS(t)
	cfg := quick(t)
	cfg.JetStream.Mode, cfg.JetStream.URLs = modeExternal, []string{"nats://" + nats.addr}
	cfg.JetStream.StampKeys = []Secret{secretFile(t, "a stamp key of enough bytes")}
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
		if err != nil || got.ErrorCode != string(event.IntakeUnavailable) {
			t.Errorf("answer without a broker: %+v, %v", got, err)
		}
		if took := time.Since(began); took > cfg.JetStream.PublishTimeout/2 {
			t.Errorf("the refusal took %v, as long as a time-out", took)
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
