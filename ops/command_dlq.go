package ops

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
)

// maxShownMessage is how many characters of a message a listing shows.
const maxShownMessage = 60

func (c *commands) dlq() *cobra.Command {
	return group("dlq", "Look at dead letters, replay and close them",
		c.dlqList(), c.dlqShow(), c.dlqReplay(), c.dlqClose(), c.dlqReview())
}

// filterFlags are the flags that select dead letters.
type filterFlags struct {
	courier, code, status, key string
	limit                      int
}

// filterNames lists them, for commands where they make sense together only.
var filterNames = []string{"courier", "code", "status", "key", "limit"}

func (f *filterFlags) add(cmd *cobra.Command) {
	statuses := make([]string, len(event.ReviewStatuses))
	for i, s := range event.ReviewStatuses {
		statuses[i] = string(s)
	}
	cmd.Flags().StringVar(&f.courier, "courier", "", "only this courier's")
	cmd.Flags().StringVar(&f.code, "code", "", "only with this error code, such as DOMAIN_INVALID")
	cmd.Flags().StringVar(&f.status, "status", "", "only with this review status: "+strings.Join(statuses, ", "))
	cmd.Flags().StringVar(&f.key, "key", "", "only with this idempotency key")
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statuses, cobra.ShellCompDirectiveNoFileComp))
}

func (f *filterFlags) filter() (event.DeadLetterFilter, error) {
	status := event.ReviewStatus(strings.ToLower(f.status))
	if status != "" && !slices.Contains(event.ReviewStatuses, status) {
		return event.DeadLetterFilter{}, usageError("--status %q is none of %v", f.status, event.ReviewStatuses)
	}
	if f.limit < 0 {
		return event.DeadLetterFilter{}, usageError("--limit %d is negative", f.limit)
	}
	return event.DeadLetterFilter{
		Courier: f.courier, Code: event.Code(strings.ToUpper(f.code)), Status: status, Key: f.key, Limit: f.limit,
	}, nil
}

func (c *commands) dlqList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters",
		Args:  cobra.NoArgs,
	}
	var flags filterFlags
	flags.add(cmd)
	cmd.Flags().IntVar(&flags.limit, "limit", 0, fmt.Sprintf("how many on a page, at most %d (default %d)", MaxPage, DefaultPage))
	after := cmd.Flags().String("after", "", "continue behind the letter with this id")
	allPages := cmd.Flags().Bool("all-pages", false, "list every page, not the first one only")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := flags.filter()
		if err != nil {
			return err
		}
		if filter.Limit > MaxPage {
			return usageError("--limit %d is over %d: use --all-pages", filter.Limit, MaxPage)
		}
		filter.After = *after
		client, err := c.client(cmd, askTimeout)
		if err != nil {
			return err
		}
		var printer pagePrinter = &pageTable{c: c, t: newTable(c.Out)}
		if *asJSON {
			printer = &pageJSON{out: c.Out}
		}
		for page, err := range client.DeadLetterPages(cmd.Context(), filter) {
			if err != nil {
				return err
			}
			if err := printer.page(page); err != nil {
				return err
			}
			if !*allPages || page.Next == "" {
				return printer.end(page.Next)
			}
		}
		return nil
	}
	return cmd
}

// pagePrinter prints pages as they come.
type pagePrinter interface {
	page(DeadLetterPage) error
	end(next string) error // next is the id to continue behind, empty at the end of all
}

// pageTable prints pages as one table; columns are aligned page by page, so that
// the first rows don't wait for the last.
type pageTable struct {
	c    *commands
	t    *table
	rows int
}

func (p *pageTable) page(page DeadLetterPage) error {
	if p.rows == 0 && len(page.DeadLetters) > 0 {
		p.t.row("ID", "DEAD SINCE", "STATUS", "ERROR", "ATTEMPTS", "COURIER", "KEY", "MESSAGE")
	}
	for _, d := range page.DeadLetters {
		p.t.row(d.ID, p.c.clock.when(d.DeadAt), string(d.ReviewStatus), string(d.Code), strconv.Itoa(len(d.Attempts)),
			d.Courier, d.Key, clip(d.Message, maxShownMessage))
	}
	p.rows += len(page.DeadLetters)
	return p.t.flush()
}

func (p *pageTable) end(next string) error {
	if p.rows == 0 {
		_, err := fmt.Fprintln(p.c.Out, "no dead letters")
		return err
	}
	if next != "" {
		p.c.say("there are more: add --after %s, or --all-pages", safe(next))
	}
	return nil
}

// pageJSON prints pages as one document of the form of [DeadLetterPage].
type pageJSON struct {
	out  io.Writer
	rows int
}

func (p *pageJSON) page(page DeadLetterPage) error {
	for _, row := range page.DeadLetters {
		before := ",\n"
		if p.rows == 0 {
			before = "{\n  \"deadLetters\": [\n"
		}
		doc, err := json.MarshalIndent(row, "    ", "  ")
		if err != nil {
			return fmt.Errorf("print as JSON: %w", err)
		}
		if _, err := io.WriteString(p.out, before+"    "+escapeJSON(string(doc))); err != nil {
			return err
		}
		p.rows++
	}
	return nil
}

func (p *pageJSON) end(next string) error {
	if p.rows == 0 {
		return printJSON(p.out, DeadLetterPage{DeadLetters: []DeadLetterRow{}})
	}
	tail := "\n  ]\n}\n"
	if next != "" {
		quoted, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("print as JSON: %w", err)
		}
		tail = "\n  ],\n  \"next\": " + string(quoted) + "\n}\n"
	}
	_, err := io.WriteString(p.out, tail)
	return err
}

func (c *commands) dlqShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter whole: why, every attempt, headers and body",
		Args:  cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := c.client(cmd, askTimeout)
		if err != nil {
			return err
		}
		letter, err := client.DeadLetter(cmd.Context(), args[0])
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(c.Out, letter)
		default:
			return c.printLetter(letter)
		}
	}
	return cmd
}

func (c *commands) printLetter(d event.DeadLetter) error {
	t := newTable(c.Out)
	t.row("id", d.ID)
	t.row("key", d.Key)
	t.row("courier", d.Courier)
	t.row("error", codeAndMessage(d.Code, d.Message))
	t.row("dead since", c.clock.when(d.DeadAt))
	t.row("received", c.clock.when(d.ReceivedAt))
	t.field("event", d.EventID)
	t.field("shipment", d.ShipmentID)
	t.field("trace", d.TraceID)
	t.row("sequence", strconv.FormatUint(d.Sequence, 10))
	t.row("review", string(d.ReviewStatus))
	if !d.ReviewedAt.IsZero() {
		t.row("reviewed", c.clock.when(d.ReviewedAt))
	}
	t.field("note", d.Note)
	t.field("replay of", d.ReplayOf)
	for _, r := range d.Replays {
		t.row("replayed", fmt.Sprintf("%s as sequence %d, nonce %s", c.clock.when(r.At), r.Sequence, r.Nonce))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := c.printAttempts(d.Attempts); err != nil {
		return err
	}
	return c.printMessage(d)
}

// printMessage shows headers and body as they stood on the queue.
func (c *commands) printMessage(d event.DeadLetter) error {
	t := newTable(c.Out)
	t.gap()
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		t.row(name, d.Headers[name])
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Out, "\n%s\n", showBody(d.Body))
	return err
}
