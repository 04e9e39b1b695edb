#include <iostream>

int main() {
  std::cout << "echo-lm " << ECHO_VERSION << "\n";
  return 0;
}
