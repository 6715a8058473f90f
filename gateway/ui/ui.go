// Package ui is the gateway's web page: three files, no build step, nothing
// from elsewhere.
package ui

import "embed"

//go:embed index.html app.js style.css
var files embed.FS

// File is one file of the page.
type File struct {
	Path        string // under which it is served
	ContentType string
	Data        []byte
}

// Files returns the files of the page.
func Files() []File {
	read := func(path, name, contentType string) File {
		data, err := files.ReadFile(name)
		if err != nil {
			panic("ui: " + err.Error()) // embedded when this was compiled
		}
		return File{Path: path, ContentType: contentType, Data: data}
	}
	return []File{
		read("/", "index.html", "text/html; charset=utf-8"),
		read("/app.js", "app.js", "text/javascript; charset=utf-8"),
		read("/style.css", "style.css", "text/css; charset=utf-8"),
	}
}
