package bench

import (
	"bufio"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

func (c *commands) targets() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "targets",
		Short: "Print signed targets for vegeta",
		Long: "Print signed targets for vegeta, one line of JSON each.\n\n" +
			"A target is signed when it is printed, so it is good for as long as the courier's\n" +
			"tolerance. For longer runs let vegeta read while it attacks, by -lazy and\n" +
			"--count 0, which prints targets without end.",
		Example: "  appliance bench targets --count 0 |\n" +
			"    vegeta attack -format=json -lazy -rate=1000/s -duration=30s |\n" +
			"    appliance bench assert",
		Args: cobra.NoArgs,
	}
	var sign signFlags
	var m Mix
	c.addSignFlags(cmd, &sign)
	m.add(cmd)
	count := cmd.Flags().Uint64("count", 1000, "how many targets, 0 for no end")
	text := cmd.Flags().String("seed", "", "number that decides the events (default: random)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		seed, err := parseSeed(*text)
		if err != nil {
			return err
		}
		voice, err := c.voice(cmd, sign)
		if err != nil {
			return err
		}
		if voice.mapped {
			return errMapped(voice.courier)
		}
		events, err := newEvents(voice.courier, seed, c.Now())
		if err != nil {
			return err
		}
		if _, err := voice.Sign(events.AppendBody(nil, 0), voice.now()); err != nil {
			return fmt.Errorf("courier %s: %w", voice.courier, err)
		}
		composer := &composer{plan: &plan{events: events, mix: m}, signer: voice.Signer, now: voice.now}
		return writeTargets(cmd, c.Out, composer, *count)
	}
	return cmd
}

// writeTargets writes so many targets, without end for 0.
func writeTargets(cmd *cobra.Command, out io.Writer, from *composer, count uint64) error {
	buffered := bufio.NewWriter(out)
	encode := vegeta.NewJSONTargetEncoder(buffered)
	for n := uint64(0); (count == 0 || n < count) && cmd.Context().Err() == nil; n++ {
		t := from.target(n)
		if err := encode(&t); err != nil {
			return fmt.Errorf("print the targets: %w", err)
		}
	}
	return buffered.Flush()
}
