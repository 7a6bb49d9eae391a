package bench

import (
	"errors"
	"math"
	"strconv"
	"strings"
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

// Type names the value of the flag in help texts.
func (Share) Type() string { return "share" }

// Includes reports whether an item belongs to the share, by a number of its own that
// is spread evenly over all 64 bits, see [Spread].
func (s Share) Includes(drawn uint64) bool { return float64(drawn>>11)/(1<<53) < float64(s) }

// Spread spreads x over all 64 bits (the finalizer of SplitMix64, Steele, Lea and
// Flood 2014), so that consecutive numbers have nothing in common.
func Spread(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
