package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// welcome prints where everything is and, on a first start, how to try it.
func (c *cli) welcome(running *app.App, l *config.Loaded) {
	cfg := l.Config
	base := publicURL(cfg.Ingest, running.Public())
	fmt.Fprintf(c.out, "\nThe Courier Gateway appliance %s is running.\n\n", c.version)
	if running.Public() != nil {
		path := "/v1/events/courier"
		if cfg.WithDemo().DefaultCourier() == "" {
			path += "/{courier}"
		}
		fmt.Fprintf(c.out, "  couriers post to  %s%s\n", base, path)
		fmt.Fprintf(c.out, "  health            %s/health\n", base)
	}
	fmt.Fprintf(c.out, "  operators         %s (metrics, status, API)\n", adminURL(cfg.Admin, running.Admin()))
	fmt.Fprintf(c.out, "  data              %s (%s)\n\n", absolute(cfg.DataDir), storage(cfg.Persistence))
	for _, courier := range running.Observed() {
		fmt.Fprintf(c.out, "  WARNING           courier %s is in observe mode: its requests are accepted without a valid signature\n\n", courier)
	}
	if demo := cfg.WithDemo(); running.Public() != nil && demo.IsDemo() {
		executable, _ := os.Executable() // unknown: then as installed
		c.printExample(base, invocation(l, executable, running.Admin()), demo)
	}
}

// printExample prints a signed request that works when pasted, and the commands
// that show its outcome.
func (c *cli) printExample(base, invocation string, cfg config.Config) {
	line, key, shipment, err := demoLine(base, cfg)
	if err != nil {
		fmt.Fprintf(c.err, "can't print a request to try: %v\n", err)
		return
	}
	fmt.Fprintf(c.out, "No couriers are configured, so there is one called %q; its secret is in\n%s. Try it within %s:\n\n%s\n\n",
		config.DemoCourier, filepath.Join(cfg.DataDir, config.DemoSecretFile), cfg.Couriers[config.DemoCourier].Tolerance, line)
	fmt.Fprintf(c.out, "Then look at its outcome:\n\n  %s events show %s\n  %s shipments show %s\n\n",
		invocation, key, invocation, shipment)
}

// demoLine returns a curl line that posts one signed event of the default
// courier, and the event's key and shipment.
func demoLine(base string, cfg config.Config) (line, key, shipment string, err error) {
	schemes, err := cfg.Schemes(jwks.At)
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

// publicURL is where couriers reach the listener, as far as this machine knows.
func publicURL(cfg config.IngestConfig, bound net.Addr) string {
	if cfg.PublicURL != "" {
		return strings.TrimSuffix(cfg.PublicURL, "/")
	}
	scheme := "http"
	if cfg.TLSCertFile != "" {
		scheme = "https"
	}
	address := cfg.Listen
	if bound != nil {
		address = bound.String()
	}
	return reachable(scheme, address)
}

// storage says where outcomes are kept.
func storage(p config.PersistenceConfig) string {
	store, cache := "sqlite", "memory"
	if p.MongoURI.IsSet() {
		store = "mongodb"
	}
	if p.RedisURL.IsSet() {
		cache = "redis"
	}
	return "store " + store + ", cache " + cache
}

// reachable returns how a listener is reached on its own machine.
func reachable(scheme, address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return scheme + "://" + address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// builtToRun is where `go run` puts what it runs: it is gone afterwards, and no shell
// would find it.
var builtToRun = regexp.MustCompile(`[/\\]go-build\d+[/\\].+[/\\]exe[/\\]`)

// invocation returns how a shell, in whatever directory, calls a command that finds this
// appliance: with flags for what the command would not know by itself. executable is this
// process's file, bound is where the operators' listener is.
func invocation(l *config.Loaded, executable string, bound net.Addr) string {
	line, inClone := "appliance", builtToRun.MatchString(executable)
	if inClone {
		line = "go run ./appliance"
	}
	named := l.File != "" && (l.File != config.DefaultFile || l.Admin.Token.IsSet())
	if named {
		line += " --config " + bench.ShellWord(absolute(l.File))
	}
	origin := l.Origin("data_dir")
	inFile := named && strings.HasPrefix(origin, "file ") && filepath.IsAbs(l.DataDir)
	if atHome := inClone && l.DataDir == config.Defaults().DataDir; !inFile && !atHome {
		line += " --data-dir " + bench.ShellWord(absolute(l.DataDir))
	}
	if origin := l.Origin("admin.listen"); named && (origin == config.OriginFlag || origin == config.OriginEnvironment) {
		line += " --admin-listen " + bench.ShellWord(bound.String()) // the file may have another
	}
	return line
}

// adminURL is where operators reach their listener from this machine.
func adminURL(cfg config.AdminConfig, bound net.Addr) string {
	if cfg.TLSCertFile != "" {
		return reachable("https", bound.String())
	}
	return reachable("http", bound.String())
}
