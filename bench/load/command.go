package load

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/bench/proof"
)

// Deps is what the commands need of the process that they run in. All of it is
// required.
type Deps struct {
	Target bench.FindTarget
	// Admin finds the running appliance's admin listener and its token, "" for none. The
	// address and the data directory go before what the command line says, unless "".
	Admin func(cmd *cobra.Command, address, dataDir string) (foundAt, token string, err error)
	// Ledger asks the admin listener at address, which is host:port or a URL, by the
	// connections given.
	Ledger func(address, token string, via http.RoundTripper) (proof.Ledger, error)
	// Serve is the command `bench serve`, which a load test starts in a process
	// of its own: it serves with [bench.Faults] and prints a [Ready] line.
	Serve    *cobra.Command
	Progress Progress

	In  io.Reader
	Out io.Writer
	Now func() time.Time
}

// Progress shows how far a load test has come, on standard error.
type Progress interface {
	Print(line string)
	// During shows what line returns every so often until ctx ends. done is the
	// share that is done, below 0 when it is not known.
	During(ctx context.Context, line func() (text string, done float64))
}

// Command returns the command bench, with its subcommands. An error is printed by the
// caller; it has a method ExitCode where the code is not 1.
func Command(deps Deps) *cobra.Command {
	c := &commands{deps}
	cmd := c.bench()
	cmd.AddCommand(c.targets(), c.assert(), deps.Serve)
	return cmd
}

type commands struct{ Deps }

// benchFlags are the flags of the load test.
type benchFlags struct {
	to     targetFlags
	spawn  spawnFlags
	load   loadFlags
	mix    Mix
	seed   string
	check  string
	drain  time.Duration
	strict bool
	limits Thresholds

	asJSON  bool
	html    string
	results string
}

// targetFlags say which running appliance to put under load.
type targetFlags struct {
	url, admin, courier, caFile string
	remote                      bool
	key                         bench.KeyFlags
}

// spawnFlags say which appliance to start when none is given.
type spawnFlags struct {
	config, sync string
	faults       bench.Faults
	keep         bool
}

// loadFlags say how much to send.
type loadFlags struct {
	rate        rate
	connections int
	duration    time.Duration
	events      uint64
	timeout     time.Duration
	client      string
}

// The load clients.
const (
	clientLean   = "lean"
	clientVegeta = "vegeta"
)

func (c *commands) bench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Load-test an appliance and verify the outcome of every event",
		Long: "Load-test an appliance and verify the outcome of every event.\n\n" +
			"Without --target it starts an appliance on a new directory, which reads no\n" +
			"configuration but --appliance-config, and removes it at the end.\n\n" +
			"It sends signed, unique events: in closed loop on --connections at once, each\n" +
			"event as soon as the previous one is answered; or with --rate in open loop, each\n" +
			"at its due time, from which its latency is measured. Then it waits until the\n" +
			"backlog is processed, reads the ledger, and checks the success criteria:\n\n" +
			"  SC-001  99 % of valid events acknowledged within 2 s, 95 % within 150 ms\n" +
			"  SC-002  every acknowledged event has a terminal outcome\n" +
			"  SC-003  no event has more than one outcome\n" +
			"  SC-004  95 % of transient failures recover before the dead letters\n\n" +
			"It exits with 3 when one is missed. It sends to this machine only, unless\n" +
			"--allow-remote confirms that the other one is yours.",
		Example: "  appliance bench\n" +
			"  appliance bench --rate 5000/s --duration 30s --strict --html report.html\n" +
			"  appliance bench --events 100000 --duplicates 10% --invalid 5% --transient 5% --permanent 1%\n" +
			"  appliance bench --target http://127.0.0.1:8080 --rate 1000/s",
		Args: cobra.NoArgs,
	}
	var flags benchFlags
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := flags.complete(cmd); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return c.runBench(ctx, cmd, flags)
	}
	return cmd
}

func (f *benchFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.to.url, "target", "", "load-test the running appliance at this address (default: start a new one)")
	fs.StringVar(&f.to.admin, "admin", "", "with --target: address of its admin listener (default: the configured one)")
	fs.BoolVar(&f.to.remote, "allow-remote", false, "with --target: send load to another machine, which is yours")
	fs.StringVar(&f.to.caFile, "ca", "", "PEM file of the authorities to trust for https")
	fs.StringVar(&f.to.courier, "courier", "", "sign as this courier (default: the default courier)")
	f.to.key.Add(cmd)

	fs.Var(&f.load.rate, "rate", "events a second to send in open loop, such as 5000/s (default: closed loop)")
	fs.IntVar(&f.load.connections, "connections", 100, "connections; in closed loop all are busy at all times")
	fs.DurationVar(&f.load.duration, "duration", 10*time.Second, "how long to send; not bounded when --events is given alone")
	fs.Uint64Var(&f.load.events, "events", 0, "how many unique events to send (default: until the time is up)")
	fs.DurationVar(&f.load.timeout, "timeout", 10*time.Second, "how long one answer may take")
	fs.StringVar(&f.load.client, "client", clientLean, "load client: lean, or vegeta for its attacker on net/http")

	f.mix.add(cmd)
	fs.Var(&f.mix.Invalid, "invalid", "share of requests with a broken signature, a bad body or a stale timestamp, which have to be refused")
	fs.StringVar(&f.seed, "seed", "", "number that decides the events and faults of a run (default: random)")

	fs.Var(&f.spawn.faults.Transient, "transient", "without --target: share of events whose first attempts fail")
	fs.Var(&f.spawn.faults.Permanent, "permanent", "without --target: share of events that can't be applied")
	fs.StringVar(&f.spawn.sync, "sync", "", "without --target: how the appliance flushes: group, always or interval")
	fs.StringVar(&f.spawn.config, "appliance-config", "", "without --target: configuration file of the appliance (default: none)")
	fs.BoolVar(&f.spawn.keep, "keep", false, "without --target: keep the directory of the appliance")

	fs.DurationVar(&f.drain, "drain-timeout", 2*time.Minute, "how long to wait for the backlog")
	fs.StringVar(&f.check, "check", "20000", "most events to look up in the ledger one by one: a number, all, or none")
	f.limits.add(cmd)
	fs.BoolVar(&f.strict, "strict", false, "the thresholds of this project: p99 below 10ms, every transient failure recovered")

	fs.BoolVar(&f.asJSON, "json", false, "print the report as JSON")
	fs.StringVar(&f.html, "html", "", "write the report as one self-contained page to this file")
	fs.StringVar(&f.results, "results", "", "write each result to this file, as vegeta reads it: .gob, .json or .csv")
	for name, values := range map[string][]string{"client": {clientLean, clientVegeta}, "sync": {"group", "always", "interval"}} {
		// The only error is that there is no such flag.
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// add adds the flags of a mix that only has valid events.
func (m *Mix) add(cmd *cobra.Command) {
	cmd.Flags().Var(&m.Duplicates, "duplicates", "share of requests that repeat an event sent shortly before")
	cmd.Flags().Var(&m.OutOfOrder, "out-of-order", "share of events that overtake another one of their shipment, or are overtaken")
}

// Flags that make sense for one kind of appliance only.
var (
	targetOnly = []string{"admin", "allow-remote", "private-key", "key-id"}
	spawnOnly  = []string{"transient", "permanent", "sync", "appliance-config", "keep"}
)

// complete checks the flags and fills in what was left to choose.
func (f *benchFlags) complete(cmd *cobra.Command) error {
	foreign, need := targetOnly, "needs --target"
	if f.to.url != "" {
		foreign, need = spawnOnly, "is for an appliance that bench starts: remove it or --target"
	}
	for _, name := range foreign {
		if cmd.Flags().Changed(name) {
			return bench.UsageErrorf("--%s %s", name, need)
		}
	}
	l := &f.load
	switch {
	case l.connections < 1 || l.connections > 10_000:
		return bench.UsageErrorf("--connections has to be between 1 and 10000")
	case l.duration <= 0 || l.timeout <= 0 || f.drain <= 0:
		return bench.UsageErrorf("--duration, --timeout and --drain-timeout have to be more than 0")
	case l.client != clientLean && l.client != clientVegeta:
		return bench.UsageErrorf("--client %q is neither %s nor %s", l.client, clientLean, clientVegeta)
	case f.mix.Invalid >= 1:
		return bench.UsageErrorf("--invalid leaves nothing valid to send")
	}
	if l.events > 0 && !cmd.Flags().Changed("duration") {
		l.duration = 0
	}
	if f.strict {
		f.limits = f.limits.strict()
	}
	seed, err := parseSeed(f.seed)
	f.spawn.faults.Seed, f.seed = seed, strconv.FormatUint(seed, 10)
	if err == nil {
		_, err = f.checks()
	}
	return err
}

// checks returns how many events to look up.
func (f *benchFlags) checks() (uint64, error) {
	switch f.check {
	case "all":
		return math.MaxUint64 / 2, nil
	case "none":
		return 0, nil
	}
	n, err := strconv.ParseUint(f.check, 10, 40)
	if err != nil || n == 0 {
		return 0, bench.UsageErrorf("--check %q is neither a number, nor all, nor none", f.check)
	}
	return n, nil
}

// parseSeed reads a seed, and draws one when there is none.
func parseSeed(text string) (uint64, error) {
	if text == "" {
		return rand.Uint64(), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, bench.UsageErrorf("--seed %q is no number from 0 to %d", text, uint64(math.MaxUint64))
	}
	return seed, nil
}

// command returns the command line that does a run again: all flags that were set, but
// for those that say where results go.
func (f *benchFlags) command(cmd *cobra.Command) string {
	line := cmd.CommandPath()
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if !slices.Contains([]string{"html", "json", "keep", "results", "seed"}, flag.Name) {
			line += fmt.Sprintf(" --%s=%s", flag.Name, bench.ShellWord(flag.Value.String()))
		}
	})
	return line + " --seed=" + f.seed
}
