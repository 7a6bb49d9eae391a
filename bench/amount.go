package bench

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Share is a part of a whole, from 0 to 1. As a flag it is written 10% or 0.1.
type Share float64

// Set implements the flag; it takes "10%", "0.1", "0" and "1".
func (s *Share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || math.IsNaN(v) || v < 0 || v > 1 {
		return errors.New("write a share as 10% or 0.1, between 0% and 100%")
	}
	*s = Share(v)
	return nil
}

// String returns the share in percent.
func (s Share) String() string {
	return strconv.FormatFloat(float64(s)*100, 'f', -1, 64) + "%"
}

// Type names the flag's value in help texts.
func (Share) Type() string { return "share" }

// takes reports whether the share includes whoever drew this number, of numbers
// spread evenly over all 64 bits.
func (s Share) takes(drawn uint64) bool { return float64(drawn>>11)/(1<<53) < float64(s) }

// rate is how often to send. The zero value is no rate: as fast as the answers
// come. As a flag it is written 5000, 5000/s or 300/m.
type rate vegeta.Rate

var perUnit = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// Set implements the flag.
func (r *rate) Set(text string) error {
	count, unit, per := strings.Cut(strings.TrimSpace(text), "/")
	if !per {
		unit = "s"
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 1e9 || perUnit[unit] == 0 {
		return errors.New("write a rate as 5000/s, 300/m or 100/h")
	}
	*r = rate{Freq: n, Per: perUnit[unit]}
	return nil
}

func (r rate) String() string {
	for unit, per := range perUnit {
		if r.Per == per {
			return fmt.Sprintf("%d/%s", r.Freq, unit)
		}
	}
	return ""
}

// Type names the flag's value in help texts.
func (rate) Type() string { return "rate" }

func (r rate) set() bool { return r.Freq > 0 }

// due returns when hit number n is due, counted from the start of the load.
// vegeta's pacer, asked before anything has gone by, knows it of every hit.
func (r rate) due(n uint64) time.Duration {
	wait, _ := vegeta.Rate(r).Pace(0, n)
	return wait
}
