// Reports of each request what report.ts describes.
package main

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"sort"
	"strings"
)

var absolute = regexp.MustCompile(`(?is)^https?://[^/?#]*(.*)$`)

func pathOf(target string) string {
	match := absolute.FindStringSubmatch(target)
	if match == nil {
		return target
	}
	path := match[1]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if path == "/?" {
		return "/"
	}
	return path
}

func inHex(text string) string {
	if text == "" {
		return "-"
	}
	return hex.EncodeToString([]byte(text))
}

func digest(bytes []byte) string {
	sum := sha1.Sum(bytes)
	return hex.EncodeToString(sum[:])[:12]
}

func handle(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(response, "bad body", 400)
		return
	}
	extra := []string{}
	for name, values := range request.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-") {
			for _, value := range values {
				extra = append(extra, lower+":"+value)
			}
		}
	}
	sort.Strings(extra)
	line := fmt.Sprintf("%s %s %s %d %s %s", request.Method, inHex(pathOf(request.RequestURI)),
		inHex(strings.ToLower(request.Host)), len(body), digest(body), digest([]byte(strings.Join(extra, "\n"))))
	response.Header().Set("X-Report", line)
	response.Header().Set("Content-Length", "3")
	response.WriteHeader(299)
	io.WriteString(response, "ok\n")
}

func main() {
	server := &http.Server{Addr: "127.0.0.1:" + os.Args[1], Handler: http.HandlerFunc(handle)}
	server.ErrorLog = nil
	if err := server.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
