package web

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// Pictures are drawn 960 wide, so that their text stays at the size of text.
const (
	pictureLeft  = 24
	pictureRight = 936
	mostBlocks   = 60 // of an axis; a longer time has no picture, and is said in words
)

// axis is a divided rule of time, in UTC.
type axis struct {
	Blocks   []block
	Ticks    []tick
	Unit     string // in words
	from, to time.Time
	left     int
}

type block struct {
	X, W   int
	Filled bool
}

type tick struct {
	X    int
	Text string
}

// axisUnits are the steps of an axis, from the least.
var axisUnits = []struct {
	upTo  time.Duration
	words string
	floor func(time.Time) time.Time
	next  func(time.Time) time.Time
	text  func(t time.Time, first bool) string
}{
	{26 * 24 * time.Hour, "days", floorDay, func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }, dayText},
	{26 * 7 * 24 * time.Hour, "weeks, from Monday", func(t time.Time) time.Time {
		return floorDay(t).AddDate(0, 0, -(int(t.Weekday())+6)%7)
	}, func(t time.Time) time.Time { return t.AddDate(0, 0, 7) }, func(t time.Time, _ bool) string { return t.Format("2 Jan") }},
	{4 * 365 * 24 * time.Hour, "months", func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	}, func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }, monthText},
	{200 * 365 * 24 * time.Hour, "years", func(t time.Time) time.Time { return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC) },
		func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }, func(t time.Time, _ bool) string { return t.Format("2006") }},
}

func floorDay(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func dayText(t time.Time, first bool) string {
	if first || t.Day() == 1 {
		return t.Format("2 Jan")
	}
	return t.Format("2")
}

func monthText(t time.Time, first bool) string {
	if first || t.Month() == time.January {
		return t.Format("Jan 2006")
	}
	return t.Format("Jan")
}

// newAxis divides the time between two moments; nil when that is longer than a
// picture can show.
func newAxis(from, to time.Time, left int) *axis {
	from, to = from.UTC(), to.UTC()
	for _, unit := range axisUnits {
		if to.Sub(from) > unit.upTo {
			continue
		}
		a := &axis{Unit: unit.words, from: unit.floor(from), left: left}
		edges := []time.Time{a.from}
		for !edges[len(edges)-1].After(to) {
			if len(edges) > mostBlocks {
				return nil
			}
			edges = append(edges, unit.next(edges[len(edges)-1]))
		}
		a.to = edges[len(edges)-1]
		every := (len(edges) + 15) / 16
		for i, at := range edges[:len(edges)-1] {
			x := a.x(at)
			a.Blocks = append(a.Blocks, block{x, a.x(edges[i+1]) - x, i%2 == 0})
			if i%every == 0 {
				a.Ticks = append(a.Ticks, tick{x, unit.text(at, i == 0)})
			}
		}
		return a
	}
	return nil
}

// x is where a moment lies, held on the axis.
func (a *axis) x(t time.Time) int {
	share := float64(t.Sub(a.from)) / float64(a.to.Sub(a.from))
	return a.left + int(min(max(share, 0), 1)*float64(pictureRight-a.left))
}

// scale is the picture of a deadline: from when its clock runs, now, the slot,
// and the deadline itself.
type scale struct {
	*axis  // nil: the time is too long for a picture
	Label  string
	Marks  []scaleMark
	Band   *block // the slot
	BandY  int
	BandH  int
	Facts  []scaleFact
	AxisY  int
	TickY  int
	UnitY  int
	Height int
}

type scaleMark struct {
	Kind   string // start, now, slot, due, late, end
	X, Y   int
	TextX  int
	Anchor string // start or end
	Text   string
}

// scaleFact is the same in words.
type scaleFact struct {
	Word string
	At   moment
	Note string
}

const (
	markStep     = 17
	deadlineWord = "deadline"
)

// timeScale draws the time from a start to an end; either may be zero, and is
// then left out. It is nil when both are.
func (f *frame) timeScale(start, end time.Time, slot *calendar.Slot, startWord, endWord string) *scale {
	if start.IsZero() && end.IsZero() {
		return nil
	}
	now := f.Now.at
	s := &scale{}
	add := func(kind, word, note string, at time.Time) {
		s.Facts = append(s.Facts, scaleFact{word, moment{at, now}, note})
		s.Marks = append(s.Marks, scaleMark{Kind: kind, Text: word + ", " + at.UTC().Format("2 Jan 2006 15:04Z")})
	}
	if !start.IsZero() {
		add("start", startWord, "", start)
	}
	add("now", "now", "", now)
	if slot != nil {
		note := "until " + slot.End.UTC().Format("2006-01-02 15:04Z")
		if slot.Window != "" {
			note += ", window " + shown(slot.Window, maxName)
		}
		add("slot", "slot", note, slot.Start)
	}
	if !end.IsZero() {
		kind := "end"
		switch {
		case endWord != deadlineWord:
			kind = "due" // nothing waits for it but the calendar
		case !end.After(now):
			kind = "late"
		}
		add(kind, endWord, "", end)
	}
	order := func(a, b scaleFact) int { return a.At.at.Compare(b.At.at) }
	marks := make(map[string]scaleMark, len(s.Marks))
	for i, m := range s.Marks {
		marks[s.Facts[i].Word] = m
	}
	slices.SortStableFunc(s.Facts, order)
	first, last := s.Facts[0].At.at, s.Facts[len(s.Facts)-1].At.at
	if slot != nil && slot.End.After(last) {
		last = slot.End
	}
	s.axis = newAxis(first, last, pictureLeft)
	s.Marks = s.Marks[:0]
	var words []string
	for _, fact := range s.Facts {
		words = append(words, fact.Word+" "+fact.At.at.UTC().Format("2006-01-02 15:04Z"))
		s.Marks = append(s.Marks, marks[fact.Word])
	}
	s.Label = "Time scale: " + strings.Join(words, ", ") + "."
	s.place(slot)
	return s
}

// place puts the marks onto the axis, the latest the highest, so that each has
// a line of its own.
func (s *scale) place(slot *calendar.Slot) {
	n := len(s.Marks)
	s.AxisY = 18 + n*markStep
	s.TickY, s.UnitY, s.Height = s.AxisY+20, s.AxisY+35, s.AxisY+42
	if s.axis == nil {
		return
	}
	for i := range s.Marks {
		m := &s.Marks[i]
		m.X, m.Y = s.x(s.Facts[i].At.at), 18+(n-1-i)*markStep
		m.TextX, m.Anchor = m.X+9, "start"
		if m.X > (pictureLeft+pictureRight)/2 {
			m.TextX, m.Anchor = m.X-9, "end"
		}
		if m.Kind == "slot" {
			s.BandY, s.BandH = m.Y, s.AxisY-m.Y
		}
	}
	if slot != nil {
		x := s.x(slot.Start)
		s.Band = &block{X: x, W: max(s.x(slot.End)-x, 3)}
	}
}

// spark is a row of numbers as a small line, one a day, the last is today.
type spark struct {
	Label  string
	Points string
	X, Y   string // of the last
}

// sparkOf draws counts; it is nil where there are none to draw.
func sparkOf(what string, counts []int) *spark {
	if len(counts) < 2 {
		return nil
	}
	most := max(1, slices.Max(counts))
	s := &spark{Label: fmt.Sprintf("%s, last %d days: from %s to %s, at most %s", what, len(counts), number(counts[0]), number(counts[len(counts)-1]), number(slices.Max(counts)))}
	var points []string
	for i, n := range counts {
		s.X = strconv.FormatFloat(2+84*float64(i)/float64(len(counts)-1), 'f', 1, 64)
		s.Y = strconv.FormatFloat(22-20*float64(n)/float64(most), 'f', 1, 64)
		points = append(points, s.X+","+s.Y)
	}
	s.Points = strings.Join(points, " ")
	return s
}

// weeksPicture shows week by week what is open and late, and what was closed
// and how much of that on time.
type weeksPicture struct {
	Label       string
	Open, Late  string // points of lines
	Bars        []weekBar
	Grid        []gridLine
	Ticks       []tick
	OpenY, Most int
}

type weekBar struct{ X, W, ClosedY, ClosedH, OnTimeY, OnTimeH int }

type gridLine struct {
	Y    int
	Text string
}

const (
	weeksTop    = 12
	weeksBottom = 172
	mostWeeks   = 104
)

func drawWeeks(weeks []upgrade.PracticeWeek) *weeksPicture {
	weeks = weeks[max(0, len(weeks)-mostWeeks):]
	if len(weeks) == 0 {
		return nil
	}
	most := 1
	for _, w := range weeks {
		most = max(most, w.Open, w.Late, w.Closed, w.OnTime)
	}
	y := func(n int) int { return weeksBottom - (weeksBottom-weeksTop)*min(max(n, 0), most)/most }
	p := &weeksPicture{Most: most}
	const left = 56
	step := float64(pictureRight-left) / float64(len(weeks))
	var open, late []string
	every := (len(weeks) + 12) / 13
	for i, w := range weeks {
		x := left + int(step*float64(i))
		mid := x + int(step/2)
		bar := weekBar{X: x + int(step/6), W: max(2, int(step*2/3)), ClosedY: y(w.Closed), OnTimeY: y(w.OnTime)}
		bar.ClosedH, bar.OnTimeH = weeksBottom-bar.ClosedY, weeksBottom-bar.OnTimeY
		p.Bars = append(p.Bars, bar)
		if len(weeks) == 1 { // a point would not be seen
			open = append(open, fmt.Sprintf("%d,%d", x, y(w.Open)))
			late = append(late, fmt.Sprintf("%d,%d", x, y(w.Late)))
		}
		open = append(open, fmt.Sprintf("%d,%d", mid, y(w.Open)))
		late = append(late, fmt.Sprintf("%d,%d", mid, y(w.Late)))
		if i%every == 0 {
			p.Ticks = append(p.Ticks, tick{x, w.Start.UTC().Format("2 Jan")})
		}
	}
	p.Open, p.Late = strings.Join(open, " "), strings.Join(late, " ")
	for i := range 3 {
		n := most * i / 2
		if i == 1 && most < 2 {
			continue
		}
		p.Grid = append(p.Grid, gridLine{y(n), number(n)})
	}
	at := weeks[len(weeks)-1]
	p.Label = fmt.Sprintf("%s from %s: at the end of the last one %s open, of them %s late.", plural(len(weeks), "week"), weeks[0].Start.UTC().Format(time.DateOnly), number(at.Open), number(at.Late))
	return p
}

// spanPicture shows the spread of times as a line: to the median, the ninth
// decile and the longest.
type spanPicture struct{ Median, P90, Max int }

func drawSpan(t upgrade.PracticeTime, longest time.Duration) *spanPicture {
	if t.Count == 0 || longest <= 0 {
		return nil
	}
	x := func(d time.Duration) int { return 4 + int(160*float64(min(max(d, 0), longest))/float64(longest)) }
	return &spanPicture{x(t.Median), x(t.P90), x(t.Max)}
}

// calendarPicture shows windows, freezes, slots and deadlines of the next weeks.
type calendarPicture struct {
	*axis
	Label  string
	Rows   []calendarRow
	AxisY  int
	TickY  int
	UnitY  int
	Height int
}

type calendarRow struct {
	Name string
	Kind string // window, freeze, slots, due
	Y    int
	Bars []block
	Dots []int
}

const (
	calendarLeft = 176
	calendarStep = 24
	calendarTime = 42 * 24 * time.Hour
	windowsDrawn = 20
)

// drawCalendar draws at most windowsDrawn windows, those that open first before
// the others.
func drawCalendar(openings []windowRow, slots, dues []time.Time, now time.Time) *calendarPicture {
	p := &calendarPicture{axis: newAxis(now, now.Add(calendarTime), calendarLeft)}
	if p.axis == nil {
		return nil
	}
	dots := func(name, kind string, times []time.Time) {
		row := calendarRow{Name: name, Kind: kind}
		for _, t := range times {
			if t.Before(now) || t.After(p.to) {
				continue
			}
			if x := p.x(t); !slices.Contains(row.Dots, x) {
				row.Dots = append(row.Dots, x)
			}
		}
		if len(row.Dots) > 0 {
			p.Rows = append(p.Rows, row)
		}
	}
	dots("deadlines", "due", dues)
	dots("slots of plans", "slots", slots)
	counts := map[string]int{}
	for i := range openings[:min(len(openings), windowsDrawn)] {
		w := &openings[i]
		row := calendarRow{Name: shorten(w.Name, 24), Kind: "window"}
		if w.Freeze {
			row.Kind = "freeze"
		}
		counts[row.Kind]++
		for _, o := range w.slots {
			x := p.x(o.Start)
			if w := p.x(o.End) - x; w >= 0 && o.Start.Before(p.to) {
				row.Bars = append(row.Bars, block{X: x, W: max(w, 3)})
			}
		}
		p.Rows = append(p.Rows, row)
	}
	if len(p.Rows) == 0 {
		return nil
	}
	for i := range p.Rows {
		p.Rows[i].Y = 8 + i*calendarStep
	}
	p.AxisY = 14 + len(p.Rows)*calendarStep
	p.TickY, p.UnitY, p.Height = p.AxisY+20, p.AxisY+35, p.AxisY+42
	p.Label = fmt.Sprintf("The next six weeks: %s and %s drawn.", plural(counts["window"], "window"), plural(counts["freeze"], "freeze"))
	return p
}

// Drawn reports whether there is a picture; the words are there without it.
func (s *scale) Drawn() bool { return s.axis != nil }
