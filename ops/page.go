package ops

import (
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Bounds of a page of a listing.
const (
	DefaultPage = 100 // rows, when nothing is asked for
	MaxPage     = 500 // rows, whatever is asked for
)

// listPage is one page of a listing: its rows, and what to pass as after for the
// next page, empty on the last.
type listPage[R any] interface {
	list() (rows []R, next string)
}

// pages yields every page behind the row with the id after. An error ends them.
func pages[P listPage[R], R any](after string, ask func(after string) (P, error)) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		for {
			page, err := ask(after)
			if !yield(page, err) || err != nil {
				return
			}
			if _, after = page.list(); after == "" {
				return
			}
		}
	}
}

// cutPage makes a page of what a store found when it was asked for one more than
// limit, which tells whether there is a next page.
func cutPage[T, R any](found []T, limit int, row func(T) R, id func(T) string) (rows []R, next string) {
	rows = make([]R, 0, min(len(found), limit))
	for _, one := range found[:cap(rows)] {
		rows = append(rows, row(one))
	}
	if len(found) > limit {
		next = id(found[limit-1])
	}
	return rows, next
}

// setter takes over the value of a filter, or says what the value is not.
type setter func(value string) (fault string)

// parseQuery reads a listing's query. What it does not know it refuses, because
// a filter that is silently ignored selects too much.
func parseQuery(query url.Values, filters map[string]setter) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		set, known := filters[name]
		if !known {
			return refuse(event.BadRequest, "%q is no filter: %s are", name, strings.Join(slices.Sorted(maps.Keys(filters)), ", "))
		}
		values := query[name]
		if len(values) > 1 {
			return refuse(event.BadRequest, "%s is given %d times", name, len(values))
		}
		if fault := set(values[0]); fault != "" {
			return refuse(event.BadRequest, "%s %q %s", name, values[0], fault)
		}
	}
	return nil
}

// formatQuery is the inverse of parseQuery; values that are empty are left out.
func formatQuery(limit int, filters map[string]string) url.Values {
	q := url.Values{}
	for name, value := range filters {
		if value != "" {
			q.Set(name, value)
		}
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

func text[S ~string](to *S) setter {
	return func(value string) string {
		*to = S(value)
		return ""
	}
}

// oneOf wants one of the words, or nothing for any of them.
func oneOf[S ~string](to *S, words []S) setter {
	return func(value string) string {
		*to = S(value)
		if value != "" && !slices.Contains(words, *to) {
			return fmt.Sprintf("is none of %v", words)
		}
		return ""
	}
}

// someOf wants some of the words with commas between them; nothing, and the word
// all, stand for all of them.
func someOf[S ~string](to *[]S, words []S) setter {
	return func(value string) string {
		if value == "" || value == "all" {
			*to = words
			return ""
		}
		*to = nil
		for word := range strings.SplitSeq(value, ",") {
			if !slices.Contains(words, S(word)) {
				return fmt.Sprintf("is none of %v, nor several of them with commas, nor all", words)
			}
			*to = append(*to, S(word))
		}
		return ""
	}
}

func yesOrNo(to *bool) setter {
	return func(value string) string {
		*to = value == "true"
		if !*to && value != "false" && value != "" {
			return "is neither true nor false"
		}
		return ""
	}
}

// rowLimit wants how many rows a page may have.
func rowLimit(to *int) setter {
	return func(value string) string {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > MaxPage {
			return fmt.Sprintf("is no number from 1 to %d", MaxPage)
		}
		*to = n
		return ""
	}
}

// words returns the texts of a closed list's values.
func words[S ~string](values []S) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return texts
}
