package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/bench"
	loadtest "github.com/fincart/courier-gateway/bench/load"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// admin finds the running appliance for the operators' commands. A token that can't be
// read is left out: the probes need none.
func (c *cli) admin(cmd *cobra.Command) (address, token string, err error) {
	cfg, err := clientOf(cmd)
	if err != nil {
		return "", "", err
	}
	token = cfg.Bearer()
	for _, warning := range cfg.Warnings {
		fmt.Fprintf(c.err, "appliance: warning: %s\n", warning)
	}
	return cfg.Listen, token, nil
}

// clientOf reads what a command line says of the appliance that runs.
func clientOf(cmd *cobra.Command) (config.Client, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return config.Client{}, err
	}
	listen, err := cmd.Flags().GetString("admin-listen")
	return config.ReadClient(path, listen), err
}

// courierCommands returns the commands that act as a courier: sign and send.
func (c *cli) courierCommands() *courierCommands {
	return &courierCommands{
		target:   c.target,
		progress: func(verb string, total int) progress { return c.progress(verb, total) },
		in:       c.in, out: c.out, err: c.err, now: time.Now,
	}
}

func (c *cli) progress(verb string, total int) *terminal.Progress {
	return terminal.NewProgress(terminal.ProgressConfig{Out: c.err, Terminal: isTerminal(c.err), Verb: verb, Total: total, Now: time.Now})
}

// benchDeps is what the load tests need of this process.
func (c *cli) benchDeps() loadtest.Deps {
	return loadtest.Deps{
		Target: c.target, Admin: c.admin, Ledger: app.NewLedger, Serve: c.benchServe(), Progress: c.progress("sent", 0),
		In: c.in, Out: c.out, Now: time.Now,
	}
}

// target finds the courier that a command speaks as, with its first secret, and
// where the appliance listens. An empty name asks for the default courier.
func (c *cli) target(cmd *cobra.Command, name string) (bench.Target, error) {
	l, err := c.loadParts(cmd, "couriers", "ingest", "data_dir")
	if err != nil {
		return bench.Target{}, err
	}
	cfg := l.WithDemo()
	if name == "" {
		name = cfg.DefaultCourier()
	}
	courier, ok := cfg.Couriers[name]
	if !ok && name == "" {
		return bench.Target{}, usage{fmt.Errorf("there is no default courier; give --courier with one of %v", cfg.CourierNames())}
	}
	if !ok {
		return bench.Target{}, usage{fmt.Errorf("there is no courier %q; give --courier with one of %v", name, cfg.CourierNames())}
	}
	settings, err := cfg.Signing(name, config.NewKeySource)
	if err != nil {
		if cfg.IsDemo() {
			err = fmt.Errorf("%w\nno couriers are configured, and the demo courier's secret is made by the first `appliance serve`", err)
		}
		return bench.Target{}, err
	}
	return bench.Target{Courier: name, URL: publicURL(cfg.Ingest, nil), Signature: settings, Mapped: !courier.Canonical()}, nil
}

// demoLine returns a curl line that posts one signed event of the default
// courier, and the event's key and shipment.
func demoLine(base string, cfg config.Config) (line, key, shipment string, err error) {
	schemes, err := cfg.Schemes(config.NewKeySource)
	if err != nil {
		return "", "", "", err
	}
	var seed [8]byte
	rand.Read(seed[:]) // never fails, see crypto/rand
	name := cfg.DefaultCourier()
	events, err := bench.NewGenerator(bench.GeneratorConfig{
		Seed: binary.BigEndian.Uint64(seed[:]), Source: name, Start: time.Now().UTC().Truncate(time.Second), Step: time.Second, Interleave: 1,
	})
	if err != nil {
		return "", "", "", err
	}
	body := events.AppendBody(nil, 0)
	var e event.Event
	if faults := payload.DecodeCanonical(body, &e, nil); len(faults) > 0 {
		return "", "", "", fmt.Errorf("the generated event is wrong: %w", faults)
	}
	signer, err := bench.NewSigner(bench.SignerConfig{URL: base + "/v1/events/courier", Scheme: schemes[name]})
	if err != nil {
		return "", "", "", err
	}
	request, err := signer.Sign(body, time.Now())
	if err != nil {
		return "", "", "", err
	}
	return bench.CurlLine(request), e.Key, e.ShipmentID, nil
}

// builtToRun is where `go run` puts what it runs: it is gone afterwards, and no shell
// would find it.
var builtToRun = regexp.MustCompile(`[/\\]go-build\d+[/\\].+[/\\]exe[/\\]`)

// invocation returns how a shell calls a command that finds this appliance: with
// flags for what the command would not know by itself, because the file was
// named, or the address was given to this process alone. executable is this
// process's file, bound is where the operators' listener is.
func invocation(l *config.Loaded, executable string, bound net.Addr) string {
	line := "appliance"
	if builtToRun.MatchString(executable) {
		line = "go run ./appliance"
	}
	if l.File != "" && l.File != config.DefaultFile {
		line += " --config " + bench.ShellWord(absolute(l.File))
	}
	_, port, _ := net.SplitHostPort(l.Admin.Listen) // was validated
	switch origin := l.Origin("admin.listen"); {
	case port == "0":
		line += " --admin-listen " + bench.ShellWord(bound.String())
	case origin == config.OriginFlag || origin == config.OriginEnvironment:
		line += " --admin-listen " + bench.ShellWord(l.Admin.Listen)
	}
	return line
}
