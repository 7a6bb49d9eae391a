package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// maxShownMessage is how many characters of a message a listing shows.
const maxShownMessage = 60

// listing says how things are listed page by page.
type listing[P ops.Page[R], R any] struct {
	things string   // what they are called, such as "dead letters"
	member string   // of the JSON document that holds them
	head   []string // of the table
	cells  func(R) []string

	courier *string // whose things are listed, when it is not empty
	// pages returns the pages that the command's own flags select.
	pages func(context.Context, *client.Client, pageFlags) (iter.Seq2[P, error], error)
}

// pageFlags are the flags of every listing.
type pageFlags struct {
	limit    int
	after    string
	allPages bool
	asJSON   bool
}

func (f *pageFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.limit, "limit", 0, fmt.Sprintf("how many on a page, at most %d (default %d)", ops.MaxPage, ops.DefaultPage))
	cmd.Flags().StringVar(&f.after, "after", "", "continue behind the one with this id")
	cmd.Flags().BoolVar(&f.allPages, "all-pages", false, "list every page, not the first one only")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print as JSON")
	cmd.PreRunE = f.check
}

func (f *pageFlags) check(*cobra.Command, []string) error {
	if f.limit > ops.MaxPage {
		return usageError("--limit %d is over %d: use --all-pages", f.limit, ops.MaxPage)
	}
	return notNegative(f.limit)
}

// RefusalCodes and DeadLetterCodes are what --code takes, of refused requests and of dead
// letters.
var (
	RefusalCodes = []event.Code{
		event.InvalidSignature, event.InvalidPayload, event.UnknownCourier, event.MethodNotAllowed, event.NotFound, event.PayloadTooLarge,
		event.UnsupportedMediaType, event.RateLimited, event.IntakeUnavailable, event.BadRequest, event.Forbidden,
	}
	DeadLetterCodes = []event.Code{
		event.Forged, event.Malformed, event.DomainInvalid, event.AttemptsExhausted, event.Timeout, event.Throttled, event.VersionConflict,
		event.Interrupted, event.Internal,
	}
)

// originFlags select by courier and error code.
type originFlags struct {
	courier, code string
	codes         []event.Code // the usual ones
}

func (f *originFlags) add(cmd *cobra.Command, example event.Code, codes []event.Code) {
	f.codes = codes
	cmd.Flags().StringVar(&f.courier, "courier", "", "only this courier's")
	cmd.Flags().StringVar(&f.code, "code", "", "only with this error code, such as "+string(example))
}

// errorCode returns the code. One that nothing can have would select nothing, as if all
// were well.
func (f *originFlags) errorCode() (event.Code, error) {
	code := event.Code(strings.ToUpper(f.code))
	if code != "" && !slices.Contains(slices.Concat(RefusalCodes, DeadLetterCodes, []event.Code{event.Incomplete, event.DependencyDown}), code) {
		return "", usageError("--code %q is none of %v", f.code, f.codes)
	}
	return code, nil
}

// doubt says that there is no such courier, where nothing was found of it.
func (p *printer) doubt(ctx context.Context, api *client.Client, courier string) {
	if courier == "" {
		return
	}
	list, err := api.Couriers(ctx) // without an answer there is nothing to say
	if err == nil && len(list.Couriers) > 0 && !slices.ContainsFunc(list.Couriers, func(one ops.CourierInfo) bool { return one.Name == courier }) {
		p.say("there is no courier %q: see appliance couriers list", courier)
	}
}

func notNegative(limit int) error {
	if limit < 0 {
		return usageError("--limit %d is negative", limit)
	}
	return nil
}

// wordFlag adds a flag that takes one of the words.
func wordFlag(cmd *cobra.Command, to *string, name, usage string, words []string) {
	cmd.Flags().StringVar(to, name, "", usage+": "+strings.Join(words, ", "))
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// listCommand completes a command that lists.
func listCommand[P ops.Page[R], R any](c *commands, cmd *cobra.Command, l listing[P, R]) *cobra.Command {
	var flags pageFlags
	flags.add(cmd)
	cmd.Args = cobra.NoArgs
	return c.run(cmd, func(cmd *cobra.Command, api *client.Client, _ []string) error {
		all, err := l.pages(cmd.Context(), api, flags)
		if err != nil {
			return err
		}
		if flags.asJSON {
			return printPages(all, &pageJSON[R]{out: c.Out, member: l.member}, flags.allPages)
		}
		table := &pageTable[R]{c: c, t: terminal.NewTable(c.Out), head: l.head, cells: l.cells, things: l.things}
		err = printPages(all, table, flags.allPages)
		if err == nil && table.rows == 0 {
			c.print.doubt(cmd.Context(), api, *l.courier)
		}
		return err
	})
}

// printPages prints the first page, or every one.
func printPages[P ops.Page[R], R any](all iter.Seq2[P, error], printer pagePrinter[R], every bool) error {
	for page, err := range all {
		if err != nil {
			return err
		}
		rows, next := page.Rows()
		if err := printer.page(rows); err != nil {
			return err
		}
		if !every || next == "" {
			return printer.end(next)
		}
	}
	return nil
}

// pagePrinter prints pages as they come.
type pagePrinter[R any] interface {
	page(rows []R) error
	end(next string) error // next is the id to continue behind, empty at the end of all
}

// pageTable prints pages as one table; columns are aligned page by page, so that
// the first rows don't wait for the last.
type pageTable[R any] struct {
	c      *commands
	t      *terminal.Table
	head   []string
	cells  func(R) []string
	things string
	rows   int
}

func (p *pageTable[R]) page(rows []R) error {
	if p.rows == 0 && len(rows) > 0 {
		p.t.Row(p.head...)
	}
	for _, row := range rows {
		p.t.Row(p.cells(row)...)
	}
	p.rows += len(rows)
	return p.t.Flush()
}

func (p *pageTable[R]) end(next string) error {
	if p.rows == 0 {
		_, err := fmt.Fprintln(p.c.Out, "no "+p.things)
		return err
	}
	if next != "" {
		p.c.print.say("there are more: add --after %s, or --all-pages", next)
	}
	return nil
}

// pageJSON prints pages as one document of the form of a page.
type pageJSON[R any] struct {
	out    io.Writer
	member string
	rows   int
}

func (p *pageJSON[R]) page(rows []R) error {
	for _, row := range rows {
		before := ",\n"
		if p.rows == 0 {
			before = "{\n  \"" + p.member + "\": [\n"
		}
		doc, err := json.MarshalIndent(row, "    ", "  ")
		if err != nil {
			return fmt.Errorf("print as JSON: %w", err)
		}
		if _, err := io.WriteString(p.out, before+"    "+terminal.EscapeJSON(string(doc))); err != nil {
			return err
		}
		p.rows++
	}
	return nil
}

func (p *pageJSON[R]) end(next string) error {
	if p.rows == 0 {
		return terminal.PrintJSON(p.out, map[string][]R{p.member: {}})
	}
	tail := "\n  ]\n}\n"
	if next != "" {
		quoted, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("print as JSON: %w", err)
		}
		tail = "\n  ],\n  \"next\": " + terminal.EscapeJSON(string(quoted)) + "\n}\n"
	}
	_, err := io.WriteString(p.out, tail)
	return err
}
