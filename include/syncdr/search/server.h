#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "syncdr/search/answer.h"
#include "syncdr/search/model.h"
#include "syncdr/search/text_tower.h"

namespace syncdr::search {

struct ServerOptions {
  std::string host = "127.0.0.1";  ///< the interface; others than loopback let everybody in who reaches it
  int64_t port = 8000;             ///< 0: any that is free
};

/// A web page that searches a gallery by picture, over HTTP:
///
///     GET  /                                          the page
///     GET  /about                                     what is searched: {model, rows, domains, text, limit}
///     POST /search?k=10[&domain=D]     body: a picture in any format that pack takes -> {rows, milliseconds, matches: as to_json}
///     POST /search?k=10&text=a+dog
///     GET  /image?domain=D&split=S&row=N              a picture of the gallery
///
/// Errors are {error} with a code of HTTP. Bodies above 32 MiB and pictures whose header claims more than 2^26 pixels are refused before they are read. A
/// page of another site can neither reach it under a name of its own (DNS rebinding: the Host header must be an address, localhost or this host's name) nor
/// post to it (the Origin header must be its own).
class Server {
 public:
  /// Listens from now on. text: null, if the model has no text side. What is referred to must live as long. Throws IoError if the port is taken or the host
  /// is not this machine's.
  Server(Model& model, Gallery& gallery, GalleryPictures& pictures, TextTower* text, c10::Device device, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// "http://127.0.0.1:8000"
  std::string address() const;
  /// Answers until stop() is true, which is asked a few times a second.
  void run(const std::function<bool()>& stop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncdr::search
