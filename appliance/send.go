package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/config/samples"
	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// sendTimeout is how long one event may take, its answer included.
const sendTimeout = 30 * time.Second

// sendFlags say what to send.
type sendFlags struct {
	signing     bench.SigningFlags
	fixed       bench.Fixed
	count       int
	concurrency int
	ndjson      bool
	sample      bool
	asJSON      bool
	caFile      string
}

// generatedFlags are those that make sense for generated events only.
var generatedFlags = []string{"count", "event-id", "key", "shipment", "status"}

func (c *courierCommands) send() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "send [FILE...|-]",
		Short: "Sign events and post them, as a courier does",
		Long: "Sign events and post them, as a courier does.\n\n" +
			"Each FILE is one event, or with --ndjson one event a line; - is standard input.\n" +
			"Without a FILE events are made up: --count of them, each of its own, one shipment\n" +
			"after the other along its way. With --event-id or --key all of them are one and\n" +
			"the same event. A courier whose payload is its own needs a FILE, or --sample: it posts\n" +
			"what the sender of its preset posts, by an example that the appliance contains.",
		Example: "  appliance send --shipment shp_456 --status delivered\n" +
			"  appliance send event.json\n  appliance send --count 1000 --concurrency 50\n" +
			"  appliance send --courier parcels --sample\n  appliance send --courier shop --header X-Shopify-Event-Id=evt_1 order.json",
	}
	var flags sendFlags
	flags.signing.Add(cmd, c.target)
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		if err := flags.check(cmd, files); err != nil {
			return err
		}
		var sample samples.Request
		target := c.target
		if flags.sample {
			target = c.sampleOf(&sample)
		}
		courier, err := flags.signing.Courier(cmd, target, c.now)
		if err != nil {
			return err
		}
		bodies, total := c.fileBodies(files, flags.ndjson), len(files)
		switch {
		case flags.sample:
			total, bodies = 1, one(sample.Bytes())
		case flags.ndjson:
			total = 0
		case len(files) == 0:
			total = flags.count
			if bodies, err = c.generatedBodies(courier, flags); err != nil {
				return err
			}
		}
		return c.sendAll(cmd.Context(), courier, bodies, total, flags)
	}
	return cmd
}

func (f *sendFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.count, "count", 1, "how many events to make up")
	cmd.Flags().StringVar(&f.fixed.EventID, "event-id", "", "made up events have this eventId")
	cmd.Flags().StringVar(&f.fixed.Key, "key", "", "made up events have this idempotencyKey")
	cmd.Flags().StringVar(&f.fixed.ShipmentID, "shipment", "", "made up events are of this shipment")
	cmd.Flags().StringVar(&f.fixed.Status, "status", "", "made up events have this status")
	cmd.Flags().IntVar(&f.concurrency, "concurrency", 1, "how many events to send at once")
	cmd.Flags().StringVar(&f.caFile, "ca", "", "PEM file of the authorities to trust for https")
	cmd.Flags().BoolVar(&f.ndjson, "ndjson", false, "each line of the input is one event")
	cmd.Flags().BoolVar(&f.sample, "sample", false, "send an example of what the sender of the courier's preset posts")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print each answer as one line of JSON: status and body")
}

func (f *sendFlags) check(cmd *cobra.Command, files []string) error {
	if f.count < 1 || f.concurrency < 1 {
		return bench.UsageErrorf("--count and --concurrency have to be 1 at least")
	}
	if len(files) == 0 && f.ndjson {
		return bench.UsageErrorf("--ndjson needs a FILE, or - for standard input")
	}
	for _, name := range generatedFlags {
		if (len(files) > 0 || f.sample) && cmd.Flags().Changed(name) {
			return bench.UsageErrorf("--%s is for made up events: leave it, or the FILE or --sample, out", name)
		}
	}
	if len(files) > 0 && f.sample {
		return bench.UsageErrorf("give a FILE or --sample, not both")
	}
	return nil
}

// sampleOf finds a courier as c.target does, and fills in the sample of its preset.
func (c *courierCommands) sampleOf(sample *samples.Request) bench.FindTarget {
	return func(cmd *cobra.Command, name string) (bench.Target, error) {
		target, err := c.target(cmd, name)
		if err != nil {
			return target, err
		}
		if target.Preset == "" {
			return target, bench.UsageErrorf("courier %s has no preset, and so no sample: give a FILE", target.Courier)
		}
		if *sample, err = samples.Of(target.Preset); err != nil {
			return target, err
		}
		for name, value := range sample.Headers {
			target.Headers = append(target.Headers, signature.Header{Name: name, Value: value})
		}
		return target, nil
	}
}

// one yields one body.
func one(body []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { yield(body, nil) }
}

// generatedBodies yields made up events that occur from now on.
func (c *courierCommands) generatedBodies(courier *bench.Courier, flags sendFlags) (iter.Seq2[[]byte, error], error) {
	if courier.Mapped {
		return nil, bench.UsageErrorf("courier %s reads its own payload: give a FILE, or --sample for what the sender of its preset posts", courier.Name)
	}
	g, err := bench.NewGenerator(bench.GeneratorConfig{
		Seed: rand.Uint64(), Source: courier.Name,
		Start: c.now(), Step: time.Millisecond, Interleave: 1, Fixed: flags.fixed,
	})
	if err != nil {
		return nil, err
	}
	if _, err := courier.Sign(g.AppendBody(nil, 0), courier.Now()); err != nil {
		return nil, fmt.Errorf("courier %s: %w", courier.Name, err)
	}
	same := flags.fixed.EventID != "" || flags.fixed.Key != ""
	return func(yield func([]byte, error) bool) {
		for range flags.count {
			i := uint64(0)
			if !same {
				i = g.Next()
			}
			if !yield(g.AppendBody(nil, i), nil) {
				return
			}
		}
	}, nil
}

// fileBodies yields the events in files, and an error for what can't be read.
func (c *courierCommands) fileBodies(files []string, ndjson bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, name := range files {
			for body, err := range c.fileEvents(name, ndjson) {
				if !yield(body, err) {
					return
				}
			}
		}
	}
}

func (c *courierCommands) fileEvents(name string, ndjson bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in, err := bench.Open(name, c.in)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = in.Close() }()
		if ndjson {
			lines(in)(yield)
		} else {
			whole(in)(yield)
		}
	}
}

// whole yields all of in as one body.
func whole(in io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		body, err := io.ReadAll(in)
		if err != nil {
			err = fmt.Errorf("read the events: %w", err)
		}
		yield(body, err)
	}
}

// lines yields each line of in that is not blank.
func lines(in io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := bufio.NewReader(in)
		for {
			line, err := r.ReadBytes('\n')
			if body := bytes.TrimSpace(line); len(body) > 0 && !yield(body, nil) {
				return
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("read the events: %w", err))
				return
			}
		}
	}
}
