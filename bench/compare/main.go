// Compare has the servers that the appliance is compared with: they accept the same
// signed events with the same fasthttp limits, and do less with them.
//
//	hmac             verifies the sender and answers; stores nothing
//	redis            and adds the event to a Redis stream, one XADD a request
//	redis-pipelined  and the same, all that wait by one pipeline
//
// Both Redis servers answer when Redis has written and flushed the event, and
// refuse a Redis that does not flush each write (appendfsync always).
//
// The script bench/compare.sh starts them one after the other, has `appliance
// bench` put each under the same load, and hands the reports to the command
// table. Nothing imports this package.
//
//	compare serve --sink hmac|redis|redis-pipelined [--redis ADDR] [--pool N]
//	compare table DIR     the medians of the reports in DIR, and the targets
//	compare port          a port that is free on the loopback interface
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes, as the appliance has them.
const (
	exitFailed = 1
	exitUsage  = 2
	exitMissed = 3
)

// secretVariable is the environment variable that holds the courier's secret, the
// same from which the appliance under load takes it.
const secretVariable = "BENCH_COURIER_SECRET"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// usage is an error in how a command was called.
type usage struct{ error }

// run does one command and returns its exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	err := command(ctx, args, out)
	if err == nil {
		return 0
	}
	fmt.Fprintf(errOut, "compare: %v\n", err)
	if _, wrong := errors.AsType[usage](err); wrong {
		return exitUsage
	}
	if errors.Is(err, errMissed) {
		return exitMissed
	}
	return exitFailed
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return usage{errors.New("which command: serve, table or port?")}
	}
	flags := flag.NewFlagSet("compare "+args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	var cfg serveConfig
	var judge bool
	var do func() error
	switch args[0] {
	case "serve":
		flags.StringVar(&cfg.listen, "listen", "127.0.0.1:0", "address to listen on")
		flags.StringVar(&cfg.sink, "sink", sinkNone, "hmac, redis or redis-pipelined")
		flags.StringVar(&cfg.redis, "redis", "", "address of the Redis server")
		flags.IntVar(&cfg.pool, "pool", 100, "connections to Redis at most")
		do = func() error { cfg.secret = os.Getenv(secretVariable); return serve(ctx, cfg, out) }
	case "table":
		flags.BoolVar(&judge, "judge", false, "exit with 3 when a target is missed or not measured")
		do = func() error { return printTable(out, flags.Arg(0), judge) }
	case "port":
		do = func() error { return printPort(out) }
	default:
		return usage{fmt.Errorf("there is no command %q", args[0])}
	}
	if err := flags.Parse(args[1:]); err != nil {
		return usage{err}
	}
	if want := map[string]int{"table": 1}[args[0]]; flags.NArg() != want {
		return usage{fmt.Errorf("%s takes %d arguments, not %d", args[0], want, flags.NArg())}
	}
	return do()
}

// printPort prints a port that was free a moment ago.
func printPort(out io.Writer) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err = errors.Join(err, ln.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, port)
	return err
}
