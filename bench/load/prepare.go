package load

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/bench/proof"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// defaultCourier is the courier of an appliance that bench starts, unless another
// name is asked for.
const defaultCourier = "demo"

// prepare finds or starts the appliance, checks that it may be put under load,
// and gets everything ready to do so.
func (r *run) prepare(ctx context.Context) (err error) {
	r.checks, _ = r.flags.checks() // was checked
	r.info = RunInfo{Command: r.flags.command(r.cmd), Machine: machine(), Client: r.flags.load.client, Seed: r.flags.seed}
	if r.flags.to.url != "" {
		err = r.useTarget()
	} else {
		err = r.spawn(ctx)
	}
	if err != nil {
		return err
	}
	if r.load, err = r.newLoad(ctx); err != nil {
		return err
	}
	r.describe()
	if r.checks > 0 {
		err = r.watchAdmin(ctx)
	}
	return err
}

// useTarget takes a running appliance.
func (r *run) useTarget() (err error) {
	if r.courier, err = r.Target(r.cmd, r.flags.to.courier); err != nil {
		return err
	}
	if r.courier.Mapped {
		return errMapped(r.courier.Courier)
	}
	r.courier.URL = r.flags.to.url
	r.info.Title, r.info.Target = "Load test of a running appliance", r.flags.to.url
	return nil
}

// spawn starts an appliance, with a courier of its own.
func (r *run) spawn(ctx context.Context) (err error) {
	if r.courier, err = newCourier(r.flags.to.courier); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f := r.flags.spawn
	if f.config != "" {
		if f.config, err = filepath.Abs(f.config); err != nil {
			return fmt.Errorf("--appliance-config: %w", err)
		}
	}
	r.Progress.Print("starting an appliance")
	r.spawned, err = spawn(ctx, spawnConfig{
		executable: executable, config: f.config, courier: r.courier.Courier, secret: string(r.courier.Signature.Secrets[0].Key),
		sync: f.sync, faults: f.faults,
	})
	if err != nil {
		return err
	}
	r.courier.URL = r.spawned.ready.URL
	r.info.Title = "Load test of a new appliance"
	r.info.Faults = fmt.Sprintf("%v transient, %v permanent", f.faults.Transient, f.faults.Permanent)
	return nil
}

// newCourier makes up a courier with a random secret.
func newCourier(name string) (bench.Target, error) {
	if name == "" {
		name = defaultCourier
	}
	if !event.ValidCourier(name) {
		return bench.Target{}, bench.UsageErrorf("--courier %q is no courier's name", name)
	}
	return bench.Target{Courier: name, Signature: signature.Config{
		Scheme: "gateway", Secrets: []signature.Secret{{ID: "bench", Key: []byte(rand.Text())}},
		TolerancePast: signature.DefaultTolerance, ToleranceFuture: signature.DefaultTolerance,
	}}, nil
}

// newLoad returns the load that the flags ask for.
func (r *run) newLoad(ctx context.Context) (*load, error) {
	where, err := bench.Endpoint(r.courier.URL, r.courier.Courier)
	if err != nil {
		return nil, bench.UsageErrorf("--target: %w", err)
	}
	to, err := newEndpoint(ctx, where, r.flags.to.remote, r.flags.to.caFile)
	if err != nil {
		return nil, err
	}
	events, err := newEvents(r.courier.Courier, r.flags.spawn.faults.Seed, r.Now())
	if err != nil {
		return nil, err
	}
	sample := events.AppendBody(nil, 0)
	signer, err := r.newSigner(where, sample)
	if err != nil {
		return nil, fmt.Errorf("courier %s: %w", r.courier.Courier, err)
	}
	f := r.flags.load
	l := &load{
		cfg:    loadConfig{rate: f.rate, connections: f.connections, duration: f.duration, timeout: f.timeout},
		plan:   &plan{events: events, mix: r.flags.mix, flaws: flawsOf(signer, sample)},
		signer: signer, past: 2*r.courier.Signature.TolerancePast + time.Hour,
		to: to, rec: newRecorder(where, r.flags.limits.Within),
	}
	if f.events > 0 {
		l.cfg.requests = l.plan.requests(f.events)
	}
	return l, nil
}

// newSigner returns the courier's signer for an endpoint, which can sign events
// such as the sample.
func (r *run) newSigner(where string, sample []byte) (*bench.Signer, error) {
	if err := r.flags.to.key.Apply(&r.courier.Signature); err != nil {
		return nil, err
	}
	scheme, err := bench.NewScheme(r.courier.Signature)
	if err != nil {
		return nil, err
	}
	signer, err := bench.NewSigner(bench.SignerConfig{URL: where, Scheme: scheme})
	if err != nil {
		return nil, err
	}
	_, err = signer.Sign(sample, r.Now())
	return signer, err
}

// newEvents returns the events of a load: those of a shipment lie an hour apart,
// the last one in the past, and 500 shipments are under way at once.
func newEvents(source string, seed uint64, now time.Time) (*bench.Generator, error) {
	return bench.NewGenerator(bench.GeneratorConfig{
		Seed: seed, Source: source, Interleave: 500,
		Start: now.Add(-(bench.JourneySteps + 1) * time.Hour).Truncate(time.Hour), Step: time.Hour,
	})
}

// errMapped says that events can't be made up for a courier.
func errMapped(courier string) error {
	return bench.UsageErrorf("courier %s reads its own payload, and no event can be made up for that: load needs a courier of canonical events", courier)
}

// describe puts in words what will be sent.
func (r *run) describe() {
	l, m := r.flags.load, r.flags.mix
	r.info.Connections = l.connections
	bound := fmt.Sprintf("for %v", l.duration)
	if l.events > 0 {
		bound = thousands(l.events) + " events"
		if l.duration > 0 {
			bound += fmt.Sprintf(", %v at most", l.duration)
		}
	}
	r.info.Load = fmt.Sprintf("closed loop, %d connections, %s", l.connections, bound)
	if l.rate.set() {
		r.info.Load = fmt.Sprintf("open loop, %v, %d connections, %s", l.rate, l.connections, bound)
	}
	r.info.Mix = fmt.Sprintf("%v duplicates, %v invalid, %v out of order", m.Duplicates, m.Invalid, m.OutOfOrder)
}

// watchAdmin begins to look at the appliance's own figures.
func (r *run) watchAdmin(ctx context.Context) (err error) {
	address, dataDir := r.flags.to.admin, ""
	if r.spawned != nil {
		address, dataDir = r.spawned.ready.Admin, r.spawned.ready.DataDir
	}
	address, token, err := r.Admin(r.cmd, address, dataDir)
	if err != nil {
		return err
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if secure.RootCAs, err = bench.Authorities(r.flags.to.caFile); err != nil {
		return err
	}
	if r.ledger, err = r.Ledger(address, token, transport(proof.LookUps, r.flags.to.remote, secure)); err != nil {
		return bench.UsageErrorf("the admin listener: %w", err)
	}
	now, err := r.ledger.Figures(ctx)
	if err != nil {
		return fmt.Errorf("%w\nwithout the admin listener nothing can be verified: set --admin, or --check none to measure only", err)
	}
	r.watch = proof.NewWatcher(r.ledger, now)
	r.info.Version, r.info.Sync = now.Version, now.Queue.Sync
	return nil
}

// machine describes this machine in a few words.
func machine() string {
	text := fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if model := processor(); model != "" {
		text += ", " + model
	}
	return text
}

// processor returns the processor's name where the system has it.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
