#include "syncdr/search/server.h"

#include <httplib.h>

#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <thread>

#include "host_header.h"
#include "page.h"
#include "syncdr/core/error.h"
#include "syncdr/data/pictures.h"
#include "syncdr/io/file.h"

namespace syncdr::search {
namespace {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

constexpr uint64_t most_bytes = uint64_t{32} << 20;
constexpr const char *too_large = "a picture may have 32 MiB at most", *no_page = "there is no such page";
constexpr int64_t most_pixels = int64_t{1} << 26, most_matches = 200;

void give(httplib::Response& response, const json::object& value, int status = 200) {
  response.status = status;
  response.set_content(json::serialize(value), "application/json");
}

void refuse(httplib::Response& response, int status, const std::string& why) { give(response, {{"error", why}}, status); }

int64_t number_of(const httplib::Request& request, const char* name, int64_t fallback, int64_t low, int64_t high) {
  if (!request.has_param(name)) return fallback;
  const std::string text = request.get_param_value(name);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    throw core::UsageError("{} = \"{}\" is no whole number from {} to {}", name, text, low, high);
  return value;
}

/// Of the body, 0: nothing is said; a very large one where what is said is no number.
uint64_t stated_length(const httplib::Request& request) {
  if (!request.has_header("Content-Length")) return 0;
  const std::string text = request.get_header_value("Content-Length");
  uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc() && end == text.data() + text.size() ? length : std::numeric_limits<uint64_t>::max();
}

/// Only this program's own socket may listen: httplib would let another one share the port.
void socket_options(socket_t socket) {
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
}

}  // namespace

struct Server::State {
  Model& model;
  Gallery& gallery;
  GalleryPictures& pictures;
  TextTower* text;
  c10::Device device;
  std::string host;
  int port = 0;
  std::mutex mutex;  // of the model, the gallery and the text side
  httplib::Server http;

  void set_up();
  void listen(int64_t asked);
  /// Whether a request may go on; if not, response says why.
  bool lets_in(const httplib::Request& request, httplib::Response& response) const;
  json::object about() const;
  json::object search(const httplib::Request& request, const std::string& body);
};

bool Server::State::lets_in(const httplib::Request& request, httplib::Response& response) const {
  const std::string of_host = request.get_header_value("Host");
  if (!is_own_host(of_host, host)) {
    refuse(response, 403, fmt::format("this server is not called \"{}\"", of_host));
  } else if (request.method == "POST" && request.has_header("Origin") && !is_own_origin(request.get_header_value("Origin"), of_host)) {
    refuse(response, 403, fmt::format("pages of \"{}\" may not search here", request.get_header_value("Origin")));
  } else if (request.get_header_value("Sec-Fetch-Site") == "cross-site" && (request.method != "GET" || request.path != "/")) {
    refuse(response, 403, "pages of other sites may link here, no more");
  } else if (request.has_header("Range")) {  // httplib would put an answer together of any number of ranges, in memory
    response.status = 416;
  } else if (request.method == "POST" && request.path != "/search") {  // httplib would read the body, unbounded where it is packed
    refuse(response, 404, no_page);
  } else if (request.has_header("Content-Encoding") || request.is_multipart_form_data()) {
    refuse(response, 415, "a picture is sent as it is: neither compressed nor as a form");
  } else if (request.method == "POST" && !request.has_header("Content-Length")) {
    refuse(response, 411, "the length of the picture is to be said before it is sent");
  } else if (stated_length(request) > most_bytes) {  // httplib would read it to its end before it answers
    refuse(response, 413, too_large);
  } else if (request.method != "GET" && request.method != "HEAD" && request.method != "POST") {
    refuse(response, 405, "only GET and POST are answered");
  } else {
    return true;
  }
  return false;
}

json::object Server::State::about() const {
  return {{"model", model.name},
          {"rows", gallery.rows()},
          {"domains", json::array(gallery.domains().begin(), gallery.domains().end())},
          {"text", text != nullptr},
          {"limit", most_bytes}};
}

json::object Server::State::search(const httplib::Request& request, const std::string& body) {
  const auto begin = Clock::now();
  const int64_t k = number_of(request, "k", 10, 1, most_matches);
  const std::string domain = request.get_param_value("domain");
  at::Tensor query;
  std::optional<data::Image> picture;
  if (!request.has_param("text"))
    picture = data::upright_picture({reinterpret_cast<const uint8_t*>(body.data()), body.size()}, model.views.resize, most_pixels);
  else if (!text) throw core::UsageError("this model has no text side: search with a picture");
  const std::lock_guard lock(mutex);
  query = picture ? features_of(model, {*picture}, device) : text->features({request.get_param_value("text")});
  const auto matches = gallery.search(query, k, domain);  // on the CPU: one query would wait for the whole gallery to go to a GPU
  const auto taken = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
  return {{"rows", gallery.rows()}, {"milliseconds", taken}, {"matches", to_json(gallery, matches.front())}};
}

void Server::State::set_up() {
  http.new_task_queue = [] { return new httplib::ThreadPool(8); };
  http.set_socket_options(socket_options);
  http.set_keep_alive_max_count(1);  // so no rest of a refused body is taken for the next request
  http.set_keep_alive_timeout(1);
  http.set_read_timeout(10);
  http.set_payload_max_length(most_bytes);
  http.set_default_headers(
      {{"Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action "
        "'none'; frame-ancestors 'none'"},
       {"Cross-Origin-Resource-Policy", "same-origin"},
       {"X-Content-Type-Options", "nosniff"},
       {"Referrer-Policy", "no-referrer"}});
  http.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    return lets_in(request, response) ? httplib::Server::HandlerResponse::Unhandled : httplib::Server::HandlerResponse::Handled;
  });
  http.set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr failed) {
    const core::Outcome outcome = core::outcome_of([&] { std::rethrow_exception(failed); });
    const bool of_request = outcome.code == core::ExitCode::usage || outcome.code == core::ExitCode::bad_data;
    refuse(response, of_request ? 400 : 500, outcome.message);
  });
  http.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty() || response.status == 416) return;  // ranges are taken of what an error says, too
    const char* why = response.status == 413 ? too_large : response.status == 404 ? no_page : "the request is broken";
    refuse(response, response.status, why);
  });
  const auto page = [this](const char* path, std::string content, const char* type) {
    http.Get(path, [content = std::move(content), type](const httplib::Request&, httplib::Response& response) { response.set_content(content, type); });
  };
  page("/", std::string(page_html), "text/html; charset=utf-8");
  page("/page.css", std::string(page_style) + std::string(form_style), "text/css; charset=utf-8");
  page("/page.js", std::string(page_script), "text/javascript; charset=utf-8");
  http.Get("/about", [this](const httplib::Request&, httplib::Response& response) { give(response, about()); });
  http.Get("/image", [this](const httplib::Request& request, httplib::Response& response) {
    const int64_t row = number_of(request, "row", -1, 0, std::numeric_limits<int64_t>::max());
    const std::string domain = request.get_param_value("domain"), split = request.get_param_value("split");
    if (!gallery.holds(domain, split, row))
      return refuse(response, 404, fmt::format("no image {} of split \"{}\" of \"{}\" is searched here", row, split, domain));
    const auto [bytes, type] = pictures.encoded(domain, split, row);
    response.set_content(reinterpret_cast<const char*>(bytes.data()), bytes.size(), type);
  });
  http.Post("/search", [this](const httplib::Request& request, httplib::Response& response, const httplib::ContentReader& read) {
    std::string body;
    bool fits = true;
    const bool whole = read([&](const char* bytes, size_t count) {  // counted as it comes: what the header says need not be so
      fits = body.size() + count <= most_bytes;
      if (fits) body.append(bytes, count);
      return fits;
    });
    if (!fits) return refuse(response, 413, too_large);
    if (!whole) return refuse(response, 400, "the picture broke off");
    give(response, search(request, body));
  });
}

void Server::State::listen(int64_t asked) {
  if (asked < 0 || asked > 65535) throw core::UsageError("--port {}: ports are 0 (any that is free) to 65535", asked);
  if (host.empty()) throw core::UsageError("--host is empty: name an address of this machine");
  errno = 0;
  if (asked == 0) port = http.bind_to_any_port(host);
  else if (http.bind_to_port(host, static_cast<int>(asked))) port = static_cast<int>(asked);
  if (port <= 0)
    throw core::IoError("{}:{}: cannot be listened on: {}. Choose another --port (0: any that is free){}", host, asked,
                        errno == 0 ? "this is no address of this machine" : io::reason(), host == "127.0.0.1" ? "" : ", or --host");
}

Server::Server(Model& model, Gallery& gallery, GalleryPictures& pictures, TextTower* text, c10::Device device, const ServerOptions& options)
    : state_(new State{.model = model, .gallery = gallery, .pictures = pictures, .text = text, .device = device, .host = options.host}) {
  state_->set_up();
  state_->listen(options.port);
}

Server::~Server() = default;

std::string Server::address() const {
  const bool is_v6 = state_->host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", is_v6 ? "[" : "", state_->host, is_v6 ? "]" : "", state_->port);
}

void Server::run(const std::function<bool()>& stop) {
  const std::jthread watch([&](const std::stop_token& over) {
    while (!over.stop_requested()) {
      if (stop()) state_->http.stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  state_->http.listen_after_bind();
  if (!stop()) throw core::IoError("{}: no connection can be taken any more: its socket has failed. Start it again", address());
}

}  // namespace syncdr::search
