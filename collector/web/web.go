// Package web is the collector's page: plain HTML, CSS and JavaScript in the binary, with nothing from elsewhere.
package web

import (
	"embed"
	"net/http"
)

//go:embed index.html style.css app.js chart.js icon.svg
var files embed.FS

// Paths lists the paths that Handler answers, as patterns for http.ServeMux.
func Paths() []string {
	return []string{"/{$}", "/style.css", "/app.js", "/chart.js", "/icon.svg"}
}

// policy forbids everything that the page does not need. A name that an agent made up is text and never code; this is
// for the day when that is overlooked.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler answers the files of the page.
func Handler() http.Handler {
	static := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache") // a new collector brings a new page
		static.ServeHTTP(w, r)
	})
}
