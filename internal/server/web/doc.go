// Package web is the web UI below /ui/: pages for people who release, use and
// check charts.
//
// It is rendered on the server with html/template, works without a script (it
// has none) and asks no other host for anything. Every page answers one
// question, every filter is in the URL, every change is a form: POST, then a
// redirect to the page that shows the result.
//
// What always holds:
//
//   - Each page is one struct and one template, and a template sees nothing
//     but its struct. A page is rendered whole before its first byte is sent.
//   - The pages are well-formed XML as well as HTML, so that tests read them
//     with a strict parser and a forgotten end tag fails there.
//   - A state is said with its source and its time. What this server did not
//     check is called not checked, never left out and never green.
//   - The session cookie is HttpOnly, SameSite=Lax and bound to /ui; POST
//     requests of other origins are refused (net/http.CrossOriginProtection);
//     pages are not stored by browsers or proxies (Cache-Control: no-store).
//   - The Content-Security-Policy allows the sheet and the pictures of this
//     server and forms to it, and nothing else: no script, no inline style.
//   - Names and texts of upstreams, deployments, advisories and charts are
//     foreign: they are shown as one line of bounded length without what cannot
//     be seen (shown), notes as plain text, and what is cut is said. Long lists
//     are cut into pages.
//
// The pages of the judgement (today, advisories, upgrades, reviews, plans,
// practice) show what package upgrade answers, with its rules, its doubts and
// the age of its data. Pictures of time are drawn here, in SVG, with the same in
// words or as a table beside them (picture.go). A form that is refused is shown
// again with what is missing and what was typed.
//
// Who may see and do what is decided by packages release, watch and upgrade
// alone. A button that the caller may not press is not shown; pressing it anyway
// is refused there.
package web
