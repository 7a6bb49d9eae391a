package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// ownCourier is the courier of an appliance that bench starts, unless another
// name is asked for.
const ownCourier = "demo"

// lookUps is how many look-ups in the ledger are under way at once.
const lookUps = 8

// prepare finds or starts the appliance, checks that it may be put under load,
// and gets everything ready to do so.
func (r *run) prepare(ctx context.Context) (err error) {
	r.checks, _ = r.flags.checks() // was checked
	r.info = RunInfo{Command: r.flags.command(r.cmd), Machine: machine(), Client: r.flags.load.client, Seed: r.flags.seed}
	if r.flags.to.url != "" {
		err = r.useTarget()
	} else {
		err = r.startOwn(ctx)
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
	if r.as, err = r.Target(r.cmd, r.flags.to.courier); err != nil {
		return err
	}
	if r.as.Mapped {
		return errMapped(r.as.Courier)
	}
	r.as.URL = r.flags.to.url
	r.info.Title, r.info.Target = "Load test of a running appliance", r.flags.to.url
	return nil
}

// startOwn starts an appliance, with a courier that nobody else knows.
func (r *run) startOwn(ctx context.Context) (err error) {
	if r.as, err = newCourier(r.flags.to.courier); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f := r.flags.own
	if f.config != "" {
		if f.config, err = filepath.Abs(f.config); err != nil {
			return fmt.Errorf("--appliance-config: %w", err)
		}
	}
	r.meter.say("starting an appliance")
	r.own, err = startOwn(ctx, ownConfig{
		executable: executable, config: f.config, courier: r.as.Courier, secret: string(r.as.Signature.Secrets[0].Key),
		sync: f.sync, faults: f.faults,
	})
	if err != nil {
		return err
	}
	r.as.URL = r.own.ready.URL
	r.info.Title = "Load test of an appliance of its own"
	r.info.Faults = fmt.Sprintf("%v transient, %v permanent", f.faults.Transient, f.faults.Permanent)
	return nil
}

// newCourier makes up a courier with a random secret.
func newCourier(name string) (Target, error) {
	if name == "" {
		name = ownCourier
	}
	if !event.ValidCourier(name) {
		return Target{}, usageError("--courier %q is no courier's name", name)
	}
	var secret [24]byte
	_, _ = rand.Read(secret[:]) // never fails, see crypto/rand
	return Target{Courier: name, Signature: signature.Config{
		Scheme: "gateway", Secrets: []signature.Secret{{ID: "bench", Key: hex.AppendEncode(nil, secret[:])}},
		TolerancePast: signature.DefaultTolerance, ToleranceFuture: signature.DefaultTolerance,
	}}, nil
}

// newLoad returns the load that the flags ask for.
func (r *run) newLoad(ctx context.Context) (*load, error) {
	where, err := endpoint(r.as.URL, r.as.Courier)
	if err != nil {
		return nil, usageError("--target: %w", err)
	}
	to, err := newSite(ctx, siteConfig{url: where, remote: r.flags.to.remote, caFile: r.flags.to.caFile})
	if err != nil {
		return nil, err
	}
	events, err := newEvents(r.as.Courier, r.flags.own.faults.Seed, r.Now())
	if err != nil {
		return nil, err
	}
	sample := events.AppendBody(nil, 0)
	signer, err := r.newSigner(where, sample)
	if err != nil {
		return nil, fmt.Errorf("courier %s: %w", r.as.Courier, err)
	}
	f := r.flags.load
	l := &load{
		cfg:    loadConfig{rate: f.rate, connections: f.connections, duration: f.duration, timeout: f.timeout},
		plan:   &plan{events: events, mix: r.flags.mix, flaws: flawsOf(signer, sample)},
		signer: signer, past: 2*r.as.Signature.TolerancePast + time.Hour,
		to: to, rec: newRecorder(where, r.flags.limits.Within),
	}
	if f.events > 0 {
		l.cfg.requests = l.plan.requests(f.events)
	}
	return l, nil
}

// newSigner returns the courier's signer for an endpoint, which can sign events
// such as the sample.
func (r *run) newSigner(where string, sample []byte) (*Signer, error) {
	if err := r.flags.to.key.apply(&r.as.Signature); err != nil {
		return nil, err
	}
	scheme, err := newScheme(r.as.Signature)
	if err != nil {
		return nil, err
	}
	signer, err := NewSigner(SignerConfig{URL: where, Scheme: scheme})
	if err != nil {
		return nil, err
	}
	_, err = signer.Sign(sample, r.Now())
	return signer, err
}

// newEvents returns the events of a load: those of a shipment lie an hour apart,
// the last one in the past, and 500 shipments are under way at once.
func newEvents(source string, seed uint64, now time.Time) (*Generator, error) {
	return NewGenerator(GeneratorConfig{
		Seed: seed, Source: source, Interleave: 500,
		Start: now.Add(-(journeySteps + 1) * time.Hour).Truncate(time.Hour), Step: time.Hour,
	})
}

// describe says in words what will be sent.
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
	var address, token string
	if r.own != nil {
		address = r.own.ready.Admin
	} else if address, token, err = r.Admin(r.cmd); err != nil {
		return err
	}
	if r.flags.to.admin != "" {
		address = r.flags.to.admin
	}
	at, err := newSite(ctx, siteConfig{url: adminURL(address), remote: r.flags.to.remote, caFile: r.flags.to.caFile})
	if err != nil {
		return fmt.Errorf("the admin listener: %w", err)
	}
	r.admin = newAdmin(at, token, lookUps)
	if r.watch, err = newWatcher(ctx, r.admin); err != nil {
		return fmt.Errorf("%w\nwithout the admin listener nothing can be proved: set --admin, or --check none to measure only", err)
	}
	s, err := r.admin.status(ctx)
	if err == nil {
		r.info.Version, r.info.Sync = s.Version, s.Queue.Sync
	}
	return err
}

func randomSeed() uint64 {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails, see crypto/rand
	return binary.NativeEndian.Uint64(seed[:])
}

// machine describes this machine in a few words.
func machine() string {
	text := fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if model := processor(); model != "" {
		text += ", " + model
	}
	return text
}

// processor returns the processor's name where the system tells it.
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
