package watch

import (
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Duration is a time span that people and JSON write as 90m, 36h or 180d.
type Duration time.Duration

// Day is a Duration of 24 hours.
const Day = Duration(24 * time.Hour)

// ParseDuration reads whole days ("180d") or what time.ParseDuration reads.
// Invalid for anything else and for what is negative.
func ParseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return Duration(n) * Day, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, problem.New(problem.Invalid, "duration", "%.40q is not a time span", s).Suggest("write 90m, 36h or 180d")
	}
	return Duration(d), nil
}

// String writes whole days as days, and else hours, minutes and seconds
// without those that are zero.
func (d Duration) String() string {
	if d != 0 && d%Day == 0 {
		return strconv.FormatInt(int64(d/Day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}
