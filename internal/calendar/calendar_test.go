package calendar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func at(text string) time.Time {
	for _, form := range []string{"2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t
		}
	}
	panic(text)
}

func said(list []Slot) string {
	var lines []string
	for _, s := range list {
		lines = append(lines, strings.TrimSpace(s.Window+" "+s.Start.Format("01-02T15:04")+"/"+s.End.Format("01-02T15:04")))
	}
	return strings.Join(lines, ", ")
}

func TestOpenings(t *testing.T) {
	for name, c := range map[string]struct {
		w        Window
		from, to string
		want     string
	}{
		"weekly by cron":           {Window{Schedule: "0 2 * * 0", Duration: "3h"}, "2026-11-20", "2026-12-01", "11-22T02:00/11-22T05:00, 11-29T02:00/11-29T05:00"},
		"open already at from":     {Window{Schedule: "0 2 * * 0", Duration: "3h"}, "2026-11-22T04:00", "2026-11-23", "11-22T02:00/11-22T05:00"},
		"ended at from":            {Window{Schedule: "0 2 * * 0", Duration: "3h"}, "2026-11-22T05:00", "2026-11-23", ""},
		"starts at to":             {Window{Schedule: "0 2 * * 0", Duration: "3h"}, "2026-11-21", "2026-11-22T02:00", ""},
		"over midnight":            {Window{Schedule: "0 22 * * 1-5", Duration: "8h"}, "2026-11-20T23:00", "2026-11-24", "11-20T22:00/11-21T06:00, 11-23T22:00/11-24T06:00"},
		"winter time in Berlin":    {Window{Schedule: "0 2 * * 0", Duration: "1h", Zone: "Europe/Berlin"}, "2026-11-21", "2026-11-23", "11-22T01:00/11-22T02:00"},
		"summer time in Berlin":    {Window{Schedule: "0 2 * * 0", Duration: "1h", Zone: "Europe/Berlin"}, "2026-07-18", "2026-07-20", "07-19T00:00/07-19T01:00"},
		"by rule":                  {Window{Schedule: "RRULE:FREQ=WEEKLY;BYDAY=SU", Start: at("2026-01-04T02:00"), Duration: "3h"}, "2026-11-20", "2026-12-01", "11-22T02:00/11-22T05:00, 11-29T02:00/11-29T05:00"},
		"rule in a zone":           {Window{Schedule: "RRULE:FREQ=DAILY", Start: at("2026-10-24T02:30"), Duration: "1h", Zone: "Europe/Berlin"}, "2026-10-24", "2026-10-27", "10-24T02:30/10-24T03:30, 10-25T03:30/10-25T04:30, 10-26T03:30/10-26T04:30"},
		"second tuesday":           {Window{Schedule: "RRULE:FREQ=MONTHLY;BYDAY=2TU", Start: at("2026-01-01T20:00"), Duration: "2h"}, "2026-11-01", "2027-01-01", "11-10T20:00/11-10T22:00, 12-08T20:00/12-08T22:00"},
		"rule that is never true":  {Window{Schedule: "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", Start: at("2026-01-01T20:00"), Duration: "2h"}, "2026-11-01", "2027-01-01", ""},
		"rule with an end":         {Window{Schedule: "RRULE:FREQ=DAILY;COUNT=2", Start: at("2026-11-01T20:00"), Duration: "2h"}, "2026-11-01", "2027-01-01", "11-01T20:00/11-01T22:00, 11-02T20:00/11-02T22:00"},
		"window with an end":       {Window{Schedule: "@daily", Duration: "2h", End: at("2026-11-02")}, "2026-11-01", "2027-01-01", "11-01T00:00/11-01T02:00, 11-02T00:00/11-02T02:00"},
		"window with a start":      {Window{Schedule: "@daily", Duration: "2h", Start: at("2026-12-31")}, "2026-11-01", "2027-01-01", "12-31T00:00/12-31T02:00"},
		"once":                     {Window{Freeze: true, Start: at("2026-12-20"), End: at("2027-01-04")}, "2026-12-01", "2026-12-24", "12-20T00:00/01-04T00:00"},
		"once, over":               {Window{Freeze: true, Start: at("2025-12-20"), End: at("2026-01-04")}, "2026-12-01", "2026-12-24", ""},
		"hour that does not exist": {Window{Schedule: "30 2 29 3 *", Duration: "1h", Zone: "Europe/Berlin"}, "2026-03-28", "2026-03-31", ""},
	} {
		c.w.Name = ""
		if err := c.w.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := said(c.w.Openings(at(c.from), at(c.to), 100)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestOpeningsAreBounded(t *testing.T) {
	w := Window{Schedule: "* * * * *", Duration: "5m"}
	if n := len(w.Openings(at("2026-01-01"), at("2030-01-01"), 7)); n != 7 {
		t.Errorf("%d openings, 7 were asked for", n)
	}
	if n := len(w.Openings(at("2026-01-01"), at("2036-01-01"), 1<<30)); n > maxSteps || n < maxSteps-1 {
		t.Errorf("%d openings of every minute, want %d", n, maxSteps)
	}
}

func TestCheckRefuses(t *testing.T) {
	for want, w := range map[string]Window{
		"neither a schedule":               {},
		"ends before":                      {Start: at("2026-01-02"), End: at("2026-01-01")},
		"is not a schedule":                {Schedule: "0 2 * *", Duration: "3h"},
		`"TZ=Asia/Tokyo 0 2 * * *" is not`: {Schedule: "TZ=Asia/Tokyo 0 2 * * *", Duration: "3h"},
		"names no time":                    {Schedule: "@every 3h", Duration: "3h"},
		"how long":                         {Schedule: "0 2 * * *", Duration: "3"},
		`"" is not how long`:               {Schedule: "0 2 * * *"},
		`"1m" is not how long`:             {Schedule: "0 2 * * *", Duration: "1m"},
		"not a time zone":                  {Schedule: "0 2 * * *", Duration: "3h", Zone: "Mars/Olympus"},
		`"Local" is not`:                   {Schedule: "0 2 * * *", Duration: "3h", Zone: "Local"},
		"not a recurrence rule":            {Schedule: "RRULE:FREQ=SOMETIMES", Start: at("2026-01-01"), Duration: "3h"},
		"recurs daily":                     {Schedule: "RRULE:FREQ=SECONDLY", Start: at("2026-01-01"), Duration: "3h"},
		"needs a start":                    {Schedule: "RRULE:FREQ=DAILY", Duration: "3h"},
		"one line":                         {Schedule: "RRULE:FREQ=DAILY\nDTSTART:20260101T000000Z", Start: at("2026-01-01"), Duration: "3h"},
		"outside the years":                {Schedule: "RRULE:FREQ=DAILY", Start: at("1970-01-01"), Duration: "3h"},
		"is not a pattern":                 {Schedule: "0 2 * * *", Duration: "3h", Deployments: []string{"[a"}},
		"only a freeze":                    {Schedule: "0 2 * * *", Duration: "3h", Security: true},
		"four times an hour":               {Schedule: "RRULE:FREQ=DAILY;BYMINUTE=1,2,3,4,5", Start: at("2026-01-01"), Duration: "3h"},
		"has no duration":                  {Start: at("2026-01-01"), End: at("2026-01-02"), Duration: "3h"},
		"the interval of a rule":           {Schedule: "RRULE:FREQ=DAILY;INTERVAL=100000", Start: at("2026-01-01"), Duration: "3h"},
		"has at most 1000 bytes":           {Schedule: "0 2 * * *", Duration: "3h", Reason: strings.Repeat("a", 1001)},
		"a schedule has at most ":          {Schedule: strings.Repeat("1", 600), Duration: "3h"},
	} {
		w.Name = "night"
		err := w.Check()
		if p, ok := problem.As(err); !ok || p.Kind != problem.Invalid || !strings.Contains(p.Message, want) || !strings.Contains(p.Message, "window night") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestNext(t *testing.T) {
	weekly := Window{Name: "weekly", Schedule: "0 2 * * 0", Duration: "3h"}
	daily := Window{Name: "daily", Schedule: "0 12 * * *", Duration: "1h", Environments: []string{"staging"}}
	xmas := Window{Name: "year-end", Freeze: true, Start: at("2026-12-18"), End: at("2027-01-04")}
	soft := Window{Name: "sale", Freeze: true, Security: true, Start: at("2026-11-21"), End: at("2026-11-28")}
	early := Window{Name: "early", Freeze: true, Start: at("2026-11-22T00:00"), End: at("2026-11-22T03:00")}
	for name, c := range map[string]struct {
		windows     []Window
		key, env    string
		from, until string
		length      time.Duration
		security    bool
		want        string
	}{
		"next sunday":                      {[]Window{weekly}, "prod/a", "prod", "2026-11-21", "2026-12-01", time.Hour, false, "weekly 11-22T02:00/11-22T05:00"},
		"what is left is enough":           {[]Window{weekly}, "prod/a", "prod", "2026-11-22T03:30", "2026-12-01", time.Hour, false, "weekly 11-22T03:30/11-22T05:00"},
		"what is left is too little":       {[]Window{weekly}, "prod/a", "prod", "2026-11-22T04:30", "2026-12-01", time.Hour, false, "weekly 11-29T02:00/11-29T05:00"},
		"deadline before the next":         {[]Window{weekly}, "prod/a", "prod", "2026-11-22T05:00", "2026-11-29T02:30", time.Hour, false, "none: "},
		"the deadline cuts":                {[]Window{weekly}, "prod/a", "prod", "2026-11-22T05:00", "2026-11-29T03:30", time.Hour, false, "weekly 11-29T02:00/11-29T03:30"},
		"no window is meant":               {[]Window{daily}, "prod/a", "prod", "2026-11-21T09:00", "2026-12-01", time.Hour, false, "11-21T09:00/12-01T00:00"},
		"the earliest of two":              {[]Window{weekly, daily}, "st/a", "staging", "2026-11-21T13:00", "2026-12-01", time.Hour, false, "weekly 11-22T02:00/11-22T05:00"},
		"freeze wins":                      {[]Window{weekly, xmas}, "prod/a", "prod", "2026-12-14", "2026-12-31", time.Hour, false, "none: year-end"},
		"after the freeze":                 {[]Window{weekly, xmas}, "prod/a", "prod", "2026-12-14", "2027-02-01", time.Hour, false, "weekly 01-10T02:00/01-10T05:00"},
		"a freeze lets security pass":      {[]Window{weekly, soft}, "prod/a", "prod", "2026-11-21", "2026-12-31", time.Hour, true, "weekly 11-22T02:00/11-22T05:00"},
		"and nothing else":                 {[]Window{weekly, soft}, "prod/a", "prod", "2026-11-21", "2026-12-31", time.Hour, false, "weekly 11-29T02:00/11-29T05:00"},
		"a freeze cuts the beginning":      {[]Window{weekly, early}, "prod/a", "prod", "2026-11-21", "2026-12-31", time.Hour, false, "weekly 11-22T03:00/11-22T05:00"},
		"what is left of it is too little": {[]Window{weekly, early}, "prod/a", "prod", "2026-11-21", "2026-12-31", 150 * time.Minute, false, "weekly 11-29T02:00/11-29T05:00"},
		"freeze of all without a window":   {[]Window{xmas}, "prod/a", "prod", "2026-12-20", "2026-12-31", time.Hour, false, "none: year-end"},
	} {
		slot, freeze, ok := Next(c.windows, c.key, c.env, at(c.from), at(c.until), c.length, c.security)
		got := said([]Slot{slot})
		if !ok {
			got = "none: " + freeze
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// TestNextKeepsWhatItSays: whatever the windows are, a slot lies inside one
// opening of one window, outside every freeze, and inside what was asked.
func TestNextKeepsWhatItSays(t *testing.T) {
	for i := range 400 {
		from := at("2026-11-01").Add(time.Duration(i*37) * time.Minute)
		until := from.Add(time.Duration(1+i%9) * 24 * time.Hour)
		windows := []Window{
			{Name: "a", Schedule: fmt.Sprintf("%d %d * * %d", i%60, i%24, i%7), Duration: fmt.Sprintf("%dh", 1+i%30)},
			{Name: "b", Schedule: fmt.Sprintf("%d %d */2 * *", i%13, i%11), Duration: "90m"},
			{Name: "f", Freeze: true, Schedule: fmt.Sprintf("0 %d * * *", i%24), Duration: fmt.Sprintf("%dm", 30+i%300)},
		}
		length := time.Duration(20+i%200) * time.Minute
		slot, _, ok := Next(windows, "k", "e", from, until, length, false)
		if !ok {
			continue
		}
		if slot.Start.Before(from) || slot.End.After(until) || slot.End.Sub(slot.Start) < length {
			t.Fatalf("%d: slot %v outside of %v to %v, or shorter than %v", i, slot, from, until, length)
		}
		inside := false
		for _, w := range windows[:2] {
			for _, o := range w.Openings(slot.Start, slot.End, 100) {
				inside = inside || w.Name == slot.Window && !o.Start.After(slot.Start) && !o.End.Before(slot.End)
			}
		}
		if frozen := windows[2].Openings(slot.Start, slot.End, 1); !inside || len(frozen) > 0 {
			t.Fatalf("%d: slot %v inside a window: %v, frozen %v", i, slot, inside, frozen)
		}
	}
}

func TestFrozen(t *testing.T) {
	windows := []Window{{Name: "sale", Freeze: true, Security: true, Start: at("2026-11-21"), End: at("2026-11-28"), Environments: []string{"prod*"}}}
	for _, c := range []struct {
		env, when string
		security  bool
		want      bool
	}{
		{"prod-eu", "2026-11-22", false, true}, {"prod-eu", "2026-11-22", true, false}, {"staging", "2026-11-22", false, false},
		{"prod-eu", "2026-11-28", false, false}, {"prod-eu", "2026-11-21", false, true},
	} {
		if w, got := Frozen(windows, "k", c.env, at(c.when), c.security); got != c.want || got && w.Name != "sale" {
			t.Errorf("%+v: %v %s", c, got, w.Name)
		}
	}
}

func TestICS(t *testing.T) {
	got := string(ICS("Chartkeep", []Entry{{
		UID: "upgrade-7@charts.example.com", Start: at("2026-11-22T02:00"), End: at("2026-11-22T05:00"), Stamp: at("2026-11-21"),
		Summary: "prod-eu/data/airflow: 8.8.0 to 8.9.0; closes 19, one é of them\r\nX-INJECTED:1",
		Text:    `back\slash`, URL: "https://charts.example.com/ui/\r\nX:1", Tags: []string{"security", "a,b"},
	}, {UID: "d", Start: at("2026-11-23"), Stamp: at("2026-11-21"), Summary: "deadline"}}))
	for _, l := range strings.Split(strings.TrimSuffix(got, "\r\n"), "\r\n") {
		if len(l) > 75 || strings.ContainsAny(l, "\r\n") {
			t.Errorf("line of %d bytes: %q", len(l), l)
		}
	}
	flat := strings.ReplaceAll(got, "\r\n ", "")
	for _, want := range []string{
		"DTSTART:20261122T020000Z\r\nDTEND:20261122T050000Z\r\n", `closes 19\, one é of them\nX-INJECTED:1` + "\r\n", `DESCRIPTION:back\\slash` + "\r\n",
		"URL:https://charts.example.com/ui/X:1\r\n", `CATEGORIES:security,a\,b` + "\r\n", "DTSTART:20261123T000000Z\r\nSUMMARY:deadline\r\nEND:VEVENT",
		"SUMMARY:prod-eu/data/airflow: 8.8.0 to 8.9.0\\; closes",
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("missing %q in\n%s", want, flat)
		}
	}
	if strings.Count(got, "BEGIN:VEVENT") != 2 || !strings.HasPrefix(got, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n") || !strings.HasSuffix(got, "END:VCALENDAR\r\n") {
		t.Error(got)
	}
}

func FuzzWindow(f *testing.F) {
	f.Add("0 2 * * 0", "3h", "Europe/Berlin", int64(0), int64(0))
	f.Add("RRULE:FREQ=WEEKLY;BYDAY=SU", "3h", "", int64(1767492000), int64(0))
	f.Add("RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;BYHOUR=1,2,3", "3h", "", int64(1767492000), int64(1967492000))
	f.Add("", "", "", int64(1767492000), int64(1967492000))
	f.Fuzz(func(t *testing.T, schedule, duration, zone string, start, end int64) {
		w := Window{Name: "w", Schedule: schedule, Duration: duration, Zone: zone}
		if start != 0 {
			w.Start = time.Unix(start, 0).UTC()
		}
		if end != 0 {
			w.End = time.Unix(end, 0).UTC()
		}
		from := at("2026-11-01")
		list := w.Openings(from, from.AddDate(0, 3, 0), 50)
		if w.Check() != nil && len(list) > 0 {
			t.Fatal("a window that is refused opens")
		}
		for i, s := range list {
			if !s.End.After(s.Start) || !s.End.After(from) || i > 0 && s.Start.Before(list[i-1].Start) {
				t.Fatalf("opening %d: %v", i, s)
			}
		}
	})
}
