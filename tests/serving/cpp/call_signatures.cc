// Loads a SavedModel as TensorFlow Serving does and calls every signature once; the Python test compares what it
// prints with the same model run in Python.
//
//   call_signatures SAVED_MODEL_DIR IMAGE... -- TEXT...
//
// Rows of image_bytes are the contents of the files, rows of text are the arguments, k is 2. One line an output:
//   signature <tab> output <tab> dtype <tab> shape, as 3,16 <tab> values, separated by spaces (strings in hex)
#include <iomanip>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/public/session.h"

namespace tf = tensorflow;

tf::Tensor Strings(const std::vector<std::string>& rows) {
  tf::Tensor tensor(tf::DT_STRING, tf::TensorShape({static_cast<int64_t>(rows.size())}));
  for (size_t i = 0; i < rows.size(); ++i) tensor.vec<tf::tstring>()(i) = rows[i];
  return tensor;
}

void Hex(const tf::tstring& value) {
  const char* digits = "0123456789abcdef";
  std::cout << 'x';
  for (const unsigned char byte : std::string(value)) std::cout << digits[byte >> 4] << digits[byte & 15];
}

void Print(const std::string& signature, const std::string& output, const tf::Tensor& tensor) {
  std::cout << signature << '\t' << output << '\t' << tf::DataTypeString(tensor.dtype()) << '\t';
  for (int i = 0; i < tensor.dims(); ++i) std::cout << (i ? "," : "") << tensor.dim_size(i);
  std::cout << '\t';
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    if (i) std::cout << ' ';
    if (tensor.dtype() == tf::DT_FLOAT) std::cout << std::setprecision(9) << tensor.flat<float>()(i);
    if (tensor.dtype() == tf::DT_BOOL) std::cout << tensor.flat<bool>()(i);
    if (tensor.dtype() == tf::DT_STRING) Hex(tensor.flat<tf::tstring>()(i));
  }
  std::cout << '\n';
}

int Fail(const std::string& what, const absl::Status& status) {
  std::cerr << what << ": " << status.ToString() << '\n';
  return 1;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: call_signatures SAVED_MODEL_DIR IMAGE... -- TEXT...\n";
    return 2;
  }
  std::vector<std::string> images, texts;
  bool in_texts = false;
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--") {
      in_texts = true;
    } else if (in_texts) {
      texts.push_back(argument);
    } else {
      std::string contents;
      const absl::Status read = tf::ReadFileToString(tf::Env::Default(), argument, &contents);
      if (!read.ok()) return Fail(argument, read);
      images.push_back(contents);
    }
  }
  tf::Tensor k(tf::DT_INT32, tf::TensorShape({}));
  k.scalar<int32_t>()() = 2;

  tf::SavedModelBundle bundle;
  const absl::Status loaded =
      tf::LoadSavedModel(tf::SessionOptions(), tf::RunOptions(), argv[1], {"serve"}, &bundle);
  if (!loaded.ok()) return Fail("LoadSavedModel", loaded);

  for (const auto& [name, signature] : bundle.GetSignatures()) {
    if (name == "__saved_model_init_op") continue;
    std::vector<std::pair<std::string, tf::Tensor>> inputs;
    for (const auto& [input, info] : signature.inputs()) {
      inputs.emplace_back(info.name(), input == "k" ? k : Strings(input == "text" ? texts : images));
    }
    std::vector<std::string> names, fetches;
    for (const auto& [output, info] : signature.outputs()) {
      names.push_back(output);
      fetches.push_back(info.name());
    }
    std::vector<tf::Tensor> outputs;
    const absl::Status run = bundle.session->Run(inputs, fetches, {}, &outputs);
    if (!run.ok()) return Fail(name, run);
    for (size_t i = 0; i < outputs.size(); ++i) Print(name, names[i], outputs[i]);
  }
  return 0;
}
