package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// judgedAt is the number of connections at which the targets count.
const judgedAt = 100

// targets are what the appliance has to reach, as a share of others' requests a
// second. The base is always group, its default.
var targets = []struct {
	of    string
	least float64 // 0 for none, to know only
}{
	{sinkNone, 0.5},
	{"always", 5},
	{"interval", 0.8},
	{sinkXADD, 2},
	{sinkPipelined, 0},
}

const base = "group"

// order is that of the table.
var order = []string{base, "interval", "always", sinkNone, sinkXADD, sinkPipelined}

var errMissed = errors.New("a target was missed or not measured")

// report is what is read of a report of `appliance bench --json`.
type report struct {
	Answers []struct {
		Kind     string
		Status   int
		Error    string
		Count    uint64
		Expected bool
	}
	Latency struct{ PerSecond, P50Seconds, P99Seconds, P999Seconds float64 }
}

// cell is one server under one load.
type cell struct {
	server      string
	connections int
}

// results holds each cell's rounds.
type results map[cell][]report

// readResults reads the reports in a directory, which are called
// SERVER.CONNECTIONS.ROUND.json.
func readResults(dir string) (results, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no reports", dir)
	}
	all := results{}
	for _, file := range files {
		c, err := cellOf(filepath.Base(file))
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("%s is no report: %w", file, err)
		}
		for _, a := range r.Answers {
			if !a.Expected {
				return nil, fmt.Errorf("%s: %d requests were not acknowledged (%d %s), so nothing can be compared", file, a.Count, a.Status, a.Error)
			}
		}
		if r.Latency.PerSecond <= 0 {
			return nil, fmt.Errorf("%s: nothing was acknowledged", file)
		}
		all[c] = append(all[c], r)
	}
	return all, nil
}

func cellOf(file string) (cell, error) {
	parts := strings.Split(file, ".")
	if len(parts) == 4 && slices.Contains(order, parts[0]) {
		if n, err := strconv.Atoi(parts[1]); err == nil && n > 0 {
			return cell{parts[0], n}, nil
		}
	}
	return cell{}, fmt.Errorf("%s is not called SERVER.CONNECTIONS.ROUND.json", file)
}

// connections lists the loads, the lightest first.
func (all results) connections() (list []int) {
	for c := range all {
		if !slices.Contains(list, c.connections) {
			list = append(list, c.connections)
		}
	}
	slices.Sort(list)
	return list
}

// values returns one figure of each round, the lowest first; none when the cell
// was not measured.
func (all results) values(c cell, figure func(*report) float64) (list []float64) {
	for i := range all[c] {
		list = append(list, figure(&all[c][i]))
	}
	slices.Sort(list)
	return list
}

func perSecond(r *report) float64 { return r.Latency.PerSecond }

// figures are the latencies of the table, in seconds.
var figures = []func(*report) float64{
	func(r *report) float64 { return r.Latency.P50Seconds },
	func(r *report) float64 { return r.Latency.P99Seconds },
	func(r *report) float64 { return r.Latency.P999Seconds },
}

// median returns the middle of what is sorted; of an even number the lower one of
// the two.
func median(sorted []float64) float64 { return sorted[(len(sorted)-1)/2] }

// ratio returns how many times as many requests base takes as another server.
func (all results) ratio(of string, connections int) (float64, bool) {
	one, other := all.values(cell{base, connections}, perSecond), all.values(cell{of, connections}, perSecond)
	if len(one) == 0 || len(other) == 0 {
		return 0, false
	}
	return median(one) / median(other), true
}

// printTable prints what the reports in a directory say. With judge it fails when
// a target is missed, or can't be judged because a server was not measured.
func printTable(out io.Writer, dir string, judge bool) error {
	all, err := readResults(dir)
	if err != nil {
		return err
	}
	if err := all.print(out); err != nil {
		return err
	}
	missed := all.missed()
	for _, line := range missed {
		fmt.Fprintln(out, line)
	}
	if len(missed) == 0 {
		fmt.Fprintf(out, "every target is reached at %d connections\n", judgedAt)
	}
	if judge && len(missed) > 0 {
		return errMissed
	}
	return nil
}

func (all results) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "connections\tserver\treq/s\tlowest\thighest\tp50\tp99\tp99.9\t\n")
	for _, n := range all.connections() {
		for _, server := range order {
			c := cell{server, n}
			rates := all.values(c, perSecond)
			if len(rates) == 0 {
				continue
			}
			fmt.Fprintf(w, "%d\t%s\t%.0f\t%.0f\t%.0f", n, server, median(rates), rates[0], rates[len(rates)-1])
			for _, figure := range figures {
				fmt.Fprintf(w, "\t%.2f ms", 1000*median(all.values(c, figure)))
			}
			fmt.Fprint(w, "\t\n")
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return all.printRatios(out)
}

// printRatios prints how many times as many requests base takes as each other
// server, at each number of connections.
func (all results) printRatios(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\n%s in times of\twanted\t", base)
	for _, n := range all.connections() {
		fmt.Fprintf(w, "at %d\t", n)
	}
	fmt.Fprintln(w)
	for _, t := range targets {
		want := "-"
		if t.least > 0 {
			want = fmt.Sprintf("≥ %g", t.least)
		}
		fmt.Fprintf(w, "%s\t%s\t", t.of, want)
		for _, n := range all.connections() {
			text := "-"
			if r, ok := all.ratio(t.of, n); ok {
				text = fmt.Sprintf("%.2f", r)
			}
			fmt.Fprintf(w, "%s\t", text)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// missed lists the targets that were not reached, or not measured.
func (all results) missed() (lines []string) {
	for _, t := range targets {
		switch r, ok := all.ratio(t.of, judgedAt); {
		case t.least == 0: // to know only
		case !ok:
			lines = append(lines, fmt.Sprintf("not measured: %s beside %s at %d connections", base, t.of, judgedAt))
		case r < t.least:
			lines = append(lines, fmt.Sprintf("missed: %s takes %.2f times the requests of %s at %d connections, wanted are %g", base, r, t.of, judgedAt, t.least))
		}
	}
	return lines
}
